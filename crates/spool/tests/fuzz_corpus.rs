//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/spool.rs"]
mod targets;

#[test]
fn no_message_comes_out_of_the_log_changed_on_all_seeds() {
    seeds::run("spool_segment", targets::segment);
}

#[test]
fn single_files_keep_their_promises_on_all_seeds() {
    seeds::run("spool_hqf", targets::hqf);
}
