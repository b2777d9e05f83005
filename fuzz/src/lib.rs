//! Finds a target of `testkit`'s list by its name, once, and runs it: what the files in `fuzz_targets` have in common.

use std::sync::OnceLock;

use testkit::fuzz::{Shown, Target, targets};

/// Made once: some targets read the UDM schema first. libfuzzer calls a function with nothing but bytes, so that this
/// has no other place to be.
static TARGET: OnceLock<Target> = OnceLock::new();

/// Runs one input. A process has one target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGET.get_or_init(|| {
        targets().into_iter().find(|target| target.name == name).expect("the file is named after a target of the list")
    });
    (target.run)(bytes, &mut Shown::default());
}
