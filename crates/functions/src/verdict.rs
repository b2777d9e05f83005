//! What a call came to, from all that was seen of it. Pure.
//!
//! A 200 is no proof: the published sample functions catch every exception, log it and answer 200. So two more signs
//! are read: lines logged at ERROR or CRITICAL, and, where the egress proxy stands between, whether as many requests
//! were answered well as there were records.

use crate::spec::{Expects, State};

/// What was seen of a call.
#[derive(Debug, Clone)]
pub(crate) struct Seen<'a> {
    /// How its process answered.
    pub ended: Ended<'a>,
    pub records: Option<u64>,
    pub expects: Expects,
    /// Lines at ERROR or CRITICAL, and the first one's message.
    pub error_lines: u64,
    pub first_error: Option<&'a str>,
    /// What left for third parties; `None` without an egress proxy.
    pub requests: Option<&'a [Request]>,
}

/// How the process answered.
#[derive(Debug, Clone)]
pub(crate) enum Ended<'a> {
    /// With this status and body.
    Answered(u16, &'a [u8]),
    /// Not at all, because …
    Broken(&'a str),
}

/// One request to a third party.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    /// Without its query, which may hold secrets.
    pub url: String,
    /// The status, or why there is none.
    pub answer: Result<u16, String>,
}

impl Request {
    pub(crate) fn failed(&self) -> bool {
        !matches!(self.answer, Ok(status) if status < 400)
    }
}

/// Judges a call, and says why where it is not simply ok.
pub(crate) fn judge(seen: &Seen<'_>) -> (State, Option<String>) {
    let mut reasons = Vec::new();
    let mut state = match &seen.ended {
        Ended::Answered(200, _) => State::Ok,
        Ended::Answered(status, body) => {
            let what = if *status == 504 { "the handler raised a timeout" } else { "the handler raised an exception" };
            let said = String::from_utf8_lossy(body);
            reasons.push(if said.trim().is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {}", short(said.trim()))
            });
            State::Failed
        }
        Ended::Broken(why) => {
            reasons.push((*why).to_owned());
            State::Failed
        }
    };
    let mut doubts = Vec::new();
    // The FDK logs a raised exception itself; that would only say the same again.
    let raised = matches!(seen.ended, Ended::Answered(502 | 504, _));
    if let (Some(first), false) = (seen.first_error, raised) {
        let many = match seen.error_lines {
            1 => "1 error logged".to_owned(),
            many => format!("{many} errors logged"),
        };
        doubts.push(format!("{many}: {}", short(first)));
    }
    if let Some(requests) = seen.requests {
        doubts.extend(judge_requests(seen.expects, seen.records, requests));
    }
    if state == State::Ok && !doubts.is_empty() {
        state = State::Suspicious;
    }
    reasons.extend(doubts);
    (state, (!reasons.is_empty()).then(|| reasons.join("; ")))
}

fn judge_requests(expects: Expects, records: Option<u64>, requests: &[Request]) -> Vec<String> {
    let mut doubts = Vec::new();
    let failed: Vec<&Request> = requests.iter().filter(|request| request.failed()).collect();
    let (sent, arrived) = (requests.len() as u64, (requests.len() - failed.len()) as u64);
    match (expects, records) {
        (Expects::Nothing, _) => return doubts,
        // As many arrived as there are records: what failed was tried again.
        (Expects::PerRecord, Some(records)) if arrived >= records => return doubts,
        // Attempts that failed sent nothing; that they failed is said below, and alone where there were enough.
        (Expects::PerRecord, Some(records)) if sent < records => {
            doubts.push(format!("{arrived} of {records} records sent"));
        }
        (Expects::Any, Some(records)) if records > 0 && sent == 0 => {
            doubts.push(format!("nothing sent for {records} {}", if records == 1 { "record" } else { "records" }));
        }
        _ => {}
    }
    if let Some(first) = failed.first() {
        let how = match &first.answer {
            Ok(status) => format!("answered {status}"),
            Err(why) => format!("not answered ({})", short(why)),
        };
        let Request { method, url, .. } = first;
        let of = failed.len();
        doubts.push(match of {
            1 => format!("1 of {sent} requests failed: {method} {url} was {how}"),
            _ => format!("{of} of {sent} requests failed, the first: {method} {url} was {how}"),
        });
    }
    doubts
}

/// The first line, and not too much of it.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(answers: &[Result<u16, &str>]) -> Vec<Request> {
        let request = |answer: &Result<u16, &str>| Request {
            method: "POST".to_owned(),
            url: "https://a.example/todos".to_owned(),
            answer: answer.map_err(str::to_owned),
        };
        answers.iter().map(request).collect()
    }

    #[test]
    fn calls_by_what_was_seen() {
        use Ended::{Answered, Broken};
        use State::{Failed, Ok as Fine, Suspicious};
        let ok = Answered(200, b"");
        let typo: &[&str] = &["name 'reponse' is not defined"];
        // How it ended, what was expected of how many records, the errors logged, the answers of third parties.
        let cases: Vec<(Ended<'_>, Expects, Option<u64>, &[&str], Option<Vec<Request>>, State, &str)> = vec![
            (ok.clone(), Expects::Any, None, &[], None, Fine, ""),
            (ok.clone(), Expects::PerRecord, Some(2), &[], None, Fine, ""),
            (ok.clone(), Expects::PerRecord, Some(2), &[], Some(requests(&[Ok(201), Ok(201)])), Fine, ""),
            (
                ok.clone(),
                Expects::PerRecord,
                Some(5),
                typo,
                Some(requests(&[Ok(202)])),
                Suspicious,
                "1 error logged: name 'reponse' is not defined; 1 of 5 records sent",
            ),
            (ok.clone(), Expects::PerRecord, Some(5), &[], Some(vec![]), Suspicious, "0 of 5 records sent"),
            // Tried again until it arrived.
            (ok.clone(), Expects::PerRecord, Some(1), &[], Some(requests(&[Ok(503), Ok(201)])), Fine, ""),
            (
                ok.clone(),
                Expects::PerRecord,
                Some(2),
                &[],
                Some(requests(&[Ok(403), Ok(201)])),
                Suspicious,
                "1 of 2 requests failed: POST https://a.example/todos was answered 403",
            ),
            (
                ok.clone(),
                Expects::PerRecord,
                Some(3),
                &["a", "b"],
                Some(requests(&[Err("connection refused"), Err("connection refused")])),
                Suspicious,
                "2 errors logged: a; 0 of 3 records sent; 2 of 2 requests failed, the first: \
                 POST https://a.example/todos was not answered (connection refused)",
            ),
            (ok.clone(), Expects::Any, Some(5), &[], Some(requests(&[Ok(202)])), Fine, ""),
            (ok.clone(), Expects::Any, Some(1), &[], Some(vec![]), Suspicious, "nothing sent for 1 record"),
            (ok.clone(), Expects::Any, None, &[], Some(vec![]), Fine, ""),
            (ok.clone(), Expects::Nothing, Some(5), &[], Some(requests(&[Ok(500)])), Fine, ""),
            (
                Answered(502, b"division by zero"),
                Expects::Any,
                Some(1),
                &["division by zero:…"],
                None,
                Failed,
                "the handler raised an exception: division by zero",
            ),
            (Answered(504, b""), Expects::Any, None, &[], None, Failed, "the handler raised a timeout"),
            (
                Broken("killed: it used 300 MiB of 256 MiB"),
                Expects::PerRecord,
                Some(2),
                &[],
                Some(requests(&[Ok(200)])),
                Failed,
                "killed: it used 300 MiB of 256 MiB; 1 of 2 records sent",
            ),
        ];
        for (ended, expects, records, errors, requests, state, note) in cases {
            let seen = Seen {
                ended,
                records,
                expects,
                error_lines: errors.len() as u64,
                first_error: errors.first().copied(),
                requests: requests.as_deref(),
            };
            let (got, why) = judge(&seen);
            assert_eq!((got, why.as_deref().unwrap_or_default()), (state, note), "{seen:?}");
        }
    }
}
