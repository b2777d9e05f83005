//! One test for each target, so that they run side by side and one can be named alone.

use testkit::fuzz::{Settings, replay, run, targets};

#[track_caller]
fn check(name: &str) {
    let settings = Settings::from_env();
    let target = targets().into_iter().find(|target| target.name == name).expect("a target of the list");
    if let Some(file) = &settings.replay {
        return replay(&target, file);
    }
    match run(&target, &settings) {
        Ok(summary) => println!("{name}: {summary:?}"),
        Err(finding) => panic!("{finding}"),
    }
}

macro_rules! checks {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let names: Vec<&str> = targets().iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

checks! {
    raw_logs udm_events entities api_logs resources udm_search raw_log_search table_search kept_parsers
    key_values token bearer request_line connect_head generate_access_token metadata log_recovery batch_codec query oci_query udm sekoia oci oci_signature
    syslog relp when classify cbn_program cbn_log cbn_both cbn_regex
}
