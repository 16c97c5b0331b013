"""What a line of the log says."""

import math

from blindsr.training.log import Meter


def test_a_meter_means_the_losses_since_it_was_read_and_the_pace_since_the_beginning():
    meter = Meter(images=8)
    for loss in (1.0, math.nan, 3.0):
        meter.note(loss, waited=0.5, seconds=2.0)
    assert meter.read() == {"loss": 2.0, "images_per_second": 4.0, "waited": 0.25}
    assert math.isnan(meter.read()["loss"])
    meter.note(5.0, waited=0.5, seconds=6.0)
    assert meter.read() == {"loss": 5.0, "images_per_second": 2.67, "waited": 0.1667}
