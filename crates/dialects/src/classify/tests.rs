//! The samples: how many are told right, and what fits none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use event::limits;

use super::rules::{Evidence, RULES};
use super::{Candidate, classify};
use crate::LogTypes;

/// The samples of one folder by log type: a line each, `↵` for a line break within one.
fn samples(folder: &str) -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classify").join(folder);
    let mut samples = BTreeMap::new();
    for file in std::fs::read_dir(&folder).expect("the samples stand beside the code") {
        let path = file.expect("a folder of ours can be read").path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).expect("samples are UTF-8");
            let name = path.file_stem().expect("a sample file has a name").to_string_lossy().into_owned();
            samples.insert(name, text.lines().map(|line| line.replace('↵', "\n")).collect());
        }
    }
    samples
}

const FITS_NONE: &str = "fits_none";

/// How many of these are told right, and words about each that is not.
fn told(samples: &BTreeMap<String, Vec<String>>) -> (usize, usize, Vec<String>) {
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    for (log_type, logs) in samples {
        for log in logs {
            all += 1;
            let candidates = classify(log.as_bytes());
            if candidates.first().is_some_and(|best| best.log_type == log_type && best.score >= 0.2) {
                right += 1;
            } else {
                wrong.push(format!("{log_type}: {candidates:?} for {}", &log[..log.floor_char_boundary(150)]));
            }
        }
    }
    (right, all, wrong)
}

#[test]
fn nine_of_ten_held_out_samples_are_told_right() {
    let samples = samples("samples/held_out");
    assert!(samples.len() >= 20 && samples.values().all(|logs| logs.len() >= 5));
    let (right, all, wrong) = told(&samples);
    println!("{right} of {all} of {} log types", samples.len());
    for line in &wrong {
        println!("{line}");
    }
    assert!(right * 10 >= all * 9, "{right} of {all}: {wrong:#?}");
}

#[test]
fn every_sample_to_tune_by_is_told_right() {
    let mut samples = samples("samples");
    samples.remove(FITS_NONE);
    let (_, _, wrong) = told(&samples);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_fits_none_scores_next_to_nothing() {
    let mut texts: Vec<Vec<u8>> = samples("samples")[FITS_NONE].iter().map(|text| text.clone().into_bytes()).collect();
    texts.extend([
        Vec::new(),
        b"\n\n\r\n".to_vec(),
        vec![0; 4_000],
        vec![0xFF; 4_000],
        b"\xFF\xFE<\0?\0x\0m\0l\0".to_vec(),
    ]);
    // Bytes of all kinds, the same in each run.
    let mut state = 1u64;
    for _ in 0..20 {
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        texts.push((0..2_000).map(|_| byte()).collect());
        texts.push((0..2_000).map(|_| b' ' + byte() % 95).collect());
    }
    assert!(texts.len() >= 40);
    for text in texts {
        for Candidate { log_type, score } in classify(&text) {
            assert!(score < 0.2, "{log_type} {score}: {:?}", String::from_utf8_lossy(&text[..text.len().min(200)]));
        }
    }
}

#[test]
fn the_table_is_sound_and_every_log_type_in_it_has_a_sample() {
    let known = LogTypes::builtin();
    let types: BTreeSet<&str> = RULES.iter().map(|rule| rule.log_type).collect();
    for log_type in &types {
        assert!(known.contains(log_type), "{log_type} is no log type");
    }
    for rule in RULES {
        assert!(
            (-1.0..1.0).contains(&rule.weight) && rule.weight != 0.0 && !rule.evidence.is_empty(),
            "{}",
            rule.log_type
        );
        // Nothing that any text might hold is evidence all alone.
        let is_loose = |evidence: &Evidence| matches!(evidence, Evidence::NoText(_) | Evidence::Syslog);
        assert!(!rule.evidence.iter().all(is_loose), "{}", rule.log_type);
    }
    let sampled = samples("samples");
    let unseen: Vec<&str> = types.into_iter().filter(|log_type| !sampled.contains_key(*log_type)).collect();
    // These are never the best: another log type is meant first by the same lines.
    assert_eq!(unseen, ["AZURE_AD_SIGNIN", "CISCO_ROUTER", "CISCO_SWITCH", "OPENSSH", "ORACLE_CLOUD_AUDIT"]);
}

#[test]
fn candidates_come_best_first_and_few() {
    for log in samples("samples/held_out").into_values().flatten() {
        let candidates = classify(log.as_bytes());
        assert!(candidates.len() <= limits::CLASSIFY_CANDIDATES_MAX);
        assert!(candidates.is_sorted_by(|a, b| a.score >= b.score), "{candidates:?}");
        assert!(candidates.iter().all(|candidate| candidate.score > 0.0 && candidate.score <= 0.99), "{candidates:?}");
        let types: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.log_type).collect();
        assert_eq!(types.len(), candidates.len());
    }
}

/// Log types that write the same line get about the same score.
#[test]
fn what_two_products_write_is_not_given_to_one_alone() {
    let candidates =
        classify(b"192.0.2.1 - - [22/Nov/2026:08:00:00 +0000] \"GET / HTTP/1.1\" 200 45 \"-\" \"curl/8.5.0\"");
    let score = |log_type: &str| candidates.iter().find(|found| found.log_type == log_type).map(|found| found.score);
    let (apache, nginx) = (score("APACHE").unwrap(), score("NGINX").unwrap());
    assert!(apache < 0.6 && nginx < 0.6 && (apache - nginx).abs() < 0.15, "{candidates:?}");
}

/// A general log type stays well behind the particular one, although it fits as well.
#[test]
fn what_says_more_keeps_what_says_less_down() {
    let samples = samples("samples/held_out");
    for (particular, general) in [
        ("WINDOWS_SYSMON", "WINEVTLOG"),
        ("WINDOWS_SYSMON", "WINEVTLOG_XML"),
        ("POWERSHELL", "WINEVTLOG"),
        ("WINDOWS_DEFENDER_AV", "WINEVTLOG_XML"),
        ("WINDOWS_DNS", "WINEVTLOG"),
        ("WINEVTLOG_XML", "WINEVTLOG"),
        ("CISCO_ASA_FIREWALL", "CISCO_IOS"),
    ] {
        for log in &samples[particular] {
            let candidates = classify(log.as_bytes());
            let general = candidates.iter().find(|found| found.log_type == general).map_or(0.0, |found| found.score);
            assert!(general < candidates[0].score / 1.6, "{candidates:?} for {log}");
        }
    }
}

/// Only the head of a text counts, wherever it is cut.
#[test]
fn a_log_may_be_long_or_cut_anywhere() {
    let log = r#"{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventSource":"s3.amazonaws.com","eventName":"é","x":""#;
    let mut long = log.as_bytes().to_vec();
    long.extend("é\"},{".repeat(limits::CLASSIFY_BYTES_MAX).into_bytes());
    assert_eq!(classify(&long)[0].log_type, "AWS_CLOUDTRAIL");
    assert_eq!(classify(&long), classify(&long[..limits::CLASSIFY_BYTES_MAX]));
    let late = format!("{{\"pad\":\"{}\",{}", " ".repeat(limits::CLASSIFY_BYTES_MAX), &log[1..]);
    assert_eq!(classify(late.as_bytes()), []);
    for log in samples("samples/held_out").into_values().flatten() {
        for end in 0..log.len() {
            classify(&log.as_bytes()[..end]);
        }
    }
}

/// Texts made to cost: each shape, without an end.
#[test]
fn nothing_hostile_panics() {
    for part in [
        "{",
        "[",
        "{\"a\":",
        "\"",
        "\\",
        "a=",
        "a=\"",
        "<",
        "<1>",
        "%",
        "%A-1-",
        ",",
        "\",",
        " ",
        "\t",
        ": ",
        "é=",
        "[{",
        "Nov 21 20:15:00 ",
        "CEF:0|",
        "] \"",
        "=é",
        "a:\"é",
        "<Provider Name=",
        "1 ",
    ] {
        for times in [1, 2, 3, 50, 20_000] {
            let text = part.repeat(times);
            for text in [
                text.clone(),
                format!("<13>Nov 21 20:15:00 h {text}"),
                format!("{{\"a\":\"{text}"),
                format!("é{text}é"),
            ] {
                classify(text.as_bytes());
            }
        }
    }
}
