#!/bin/sh
# Trains the shipped models from folders of sharp photos:
#
#     scripts/train_tiny.sh gpu PHOTOS [PHOTOS …]     # an H100 took 10 + 10 + 4 minutes for the first three stages
#     scripts/train_tiny.sh cpu PHOTOS [PHOTOS …]     # two cores: hours
#
# Before the third, layers for quiet photos are fitted, and before the fourth estimates recorded, both on the processor; half an
# hour each on two cores. PIECES (60000) and RECORDS (600) set from how much.
#
# MINUTES="60 60 75 50 25" sets the length of each of the five stages, the last number that of all after it. FROM=tiny goes
# on from shipped weights (or a file of yours) instead of beginning anew: less is left to learn then, so lower rates do.
# Stops anywhere and goes on with the same command. The results are runs/tiny_recorded and runs/joint_real.
set -e
device= restorer= estimator= joint=  # whatever the caller's environment calls so
machine=${1:-}
[ $# -gt 0 ] && shift
case $machine in
gpu)
    device="--set data.resident=true --set compile=false --set data.workers=3"
    restorer="--set graphs=true --set data.batch=64 --set data.patch=128"
    estimator="--set data.batch=128 --set data.patch=320 --set data.patch_lr=128"
    estimator="$estimator --set data.gamma=[0.7,1.4]"
    joint="--set data.batch=64 --set optimizer.learning_rate=8e-4"
    usual=12
    ;;
cpu) usual=60 ;;
*)
    echo "say gpu or cpu first, then the folders of photos" >&2
    exit 2
    ;;
esac
if [ $# -eq 0 ]; then
    echo "name the folders of photos after $machine" >&2
    exit 2
fi
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }  # as YAML quotes, for names with spaces
folders=
for folder in "$@"; do
    folders="$folders${folders:+, }$(quoted "$folder")"
done
folders="data.folders=[$folders]"
if [ -n "$FROM" ]; then
    restorer="$restorer --set optimizer.learning_rate=8e-4"
    estimator="$estimator --set optimizer.learning_rate=8e-4"
fi
parts="runs/usrnet_tiny/model.safetensors:restorer, runs/quiet/model.safetensors:initial"
stage=0
train() {
    stage=$((stage + 1))
    minutes=$(echo "${MINUTES:-$usual}" | awk -v n=$stage '{print n <= NF ? $n : $NF}')
    python -m blindsr train "$@" --set "$folders" --set "schedule.minutes=$minutes"
}
train usrnet_tiny $device $restorer ${FROM:+--set "start_from=[$(quoted "$FROM:restorer")]"}
train estimator $device $estimator ${FROM:+--set "start_from=[$(quoted "$FROM:initial")]"}
python scripts/fit_quiet.py runs/estimator/model.safetensors estimator runs/quiet --set "$folders" --pieces "${PIECES:-60000}"
train tiny $device $joint --set "start_from=[${FROM:+$(quoted "$FROM"), }$parts]"
python scripts/record_estimates.py runs/tiny/model.safetensors tiny runs/records.npz --set "$folders" \
    --records "${RECORDS:-600}"
train tiny_recorded
train joint_real --set 'start_from=[runs/tiny_recorded/model.safetensors]'
