//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/control.rs"]
mod targets;

#[test]
fn frames_keep_their_promises_on_all_seeds() {
    seeds::run("control_frames", targets::frames);
}
