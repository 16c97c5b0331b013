#!/bin/sh
# Trains the shipped models from folders of sharp photos:
#
#     scripts/train_tiny.sh gpu PHOTOS [PHOTOS …]     # an H100 took 10 + 10 + 4 minutes for the shipped tiny
#     scripts/train_tiny.sh cpu PHOTOS [PHOTOS …]     # two cores: hours; MINUTES=60 sets the length of each stage
#
# Stops anywhere and goes on with the same command. The results are runs/tiny and runs/joint_real.
set -e
machine=$1
shift
folders="data.folders=[$(echo "$@" | sed 's/ /, /g')]"
minutes="schedule.minutes=${MINUTES:-12}"
case $machine in
gpu)
    device="--set data.resident=true --set compile=false --set data.workers=3"
    restorer="--set graphs=true --set data.batch=64 --set data.patch=128"
    estimator="--set precision=bf16 --set data.batch=128 --set data.patch=320 --set data.patch_lr=128"
    estimator="$estimator --set data.gamma=[0.7,1.4]"
    joint="--set data.batch=64 --set optimizer.learning_rate=8e-4"
    ;;
cpu) minutes="schedule.minutes=${MINUTES:-60}" ;;
*)
    echo "say gpu or cpu first, then the folders of photos" >&2
    exit 2
    ;;
esac
train() {
    python -m blindsr train "$@" --set "$folders" --set "$minutes"
}
train usrnet_tiny $device $restorer
train estimator $device $estimator
train tiny $device $joint
train joint_real --set 'start_from=[runs/tiny/model.safetensors]'
