//! `date`: from a text to a point in time.
//!
//! The formats are tried in order (`date_format.rs` follows them); what a text leaves open is added here: the zone from
//! the option `timezone`, else from what is known of the log (`@timezone`), else UTC; a missing year from the time of
//! receipt. Time zones come from the database that is built in, never from the system's: the same program and log give
//! the same end everywhere.
//!
//! A date without a year takes the latest year in which it is not later than a day after the receipt, so that December's
//! logs which arrive in January belong to December. Google's option `rebase` asks for this; it is done without being
//! asked, too, since the year 0 that would stand there otherwise is of no use to anybody. `rebase` is therefore read by
//! nobody.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::date_format::{Civil, Format, Said, Zone, instant_of, zone_alone};
use super::place_of;
use crate::compile::{Build, Options, words_of};
use crate::path::{Path, Target, Template};
use crate::run::{Failure, Run};
use crate::value::{Time, Value};

/// How much later than its receipt a log may be before its year is thought to be the one before: clocks go wrong, and
/// zones are left out.
const AHEAD_SECONDS_MAX: i64 = 24 * 3600;

/// The longest text that is looked at: no date is longer, and a whole log in its place costs nothing.
const TEXT_BYTES_MAX: usize = 200;

#[derive(Debug)]
pub(crate) struct Date {
    source: Target,
    formats: Box<[Format]>,
    target: Target,
    zone: Option<Where>,
    /// `@timezone`.
    timezone: Path,
    zones: TimeZoneDatabase,
}

/// The option `timezone`.
#[derive(Debug)]
enum Where {
    Known(TimeZone),
    /// Known by the time of the run only, or not at all.
    Named(Template),
}

impl Date {
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Date> {
        let words = options.all("match").last().map(|entry| words_of(&entry.value)).unwrap_or_default();
        let Some((source, formats)) = words.split_first() else {
            build.error("date-match", options.span(), "match of date needs a field and formats");
            return None;
        };
        let source = build.target(source);
        // A format that says nothing can match nothing; the linter tells.
        let formats = formats.iter().filter_map(|word| Format::new(&word.text)).collect();
        let target = match options.word("target") {
            Some(word) => build.target(word),
            None => Target::new("@timestamp", &mut build.names),
        };
        let zones = TimeZoneDatabase::bundled();
        let zone = options.word("timezone").filter(|word| !word.text.is_empty()).map(|word| {
            let template = build.template(word);
            match template.constant().and_then(|name| zone_of(name, &zones)) {
                Some(zone) => Where::Known(zone),
                None => Where::Named(template),
            }
        });
        let timezone = Path::new("@timezone", &mut build.names);
        Some(Date { source, formats, target, zone, timezone, zones })
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let Some(value) = run.get(&source) else {
            return Err(run.error(&source.text, || format!("source field {:?}: field not set", source.text)));
        };
        let time = match value {
            Value::Text(text) => {
                run.step_bytes(text.len())?;
                self.read(run, text.trim_ascii())?
            }
            Value::Time(time) => Some(time),
            // Numbers of JSON are not made into texts by everybody who reads a date from them.
            Value::Float(number) => self.count(number),
            Value::Int(number) => self.count(number as f64),
            Value::Uint(number) => self.count(number as f64),
            _ => None,
        };
        let Some(time) = time else {
            return Err(run.error(&source.text, || {
                let shown = crate::value::print(&value).unwrap_or_else(|| value.type_name().to_owned());
                let shown: String = shown.chars().take(TEXT_BYTES_MAX).collect();
                format!("source field {:?}: no format matches {shown:?}", source.text)
            }));
        };
        let target = place_of(run, &self.target)?;
        run.set(&target, Value::Time(time))
    }

    /// The time that the first format that fits makes of a text.
    fn read(&self, run: &Run<'_>, text: &str) -> Result<Option<Time>, Failure> {
        if text.len() > TEXT_BYTES_MAX {
            return Ok(None);
        }
        run.step(self.formats.len() as u64 / 4)?;
        for format in &self.formats {
            let time = match format.read(text) {
                Some(Said::Instant { seconds, nanos }) => Timestamp::new(seconds, nanos as i32).ok(),
                Some(Said::Civil(civil)) => self.place_in_time(run, &civil)?,
                None => None,
            };
            if time.is_some() {
                return Ok(time);
            }
        }
        Ok(None)
    }

    /// The time that the first format for counts makes of a number.
    fn count(&self, number: f64) -> Option<Time> {
        let said = instant_of(number, self.formats.iter().find_map(Format::per_second)?)?;
        match said {
            Said::Instant { seconds, nanos } => Timestamp::new(seconds, nanos as i32).ok(),
            Said::Civil(_) => None,
        }
    }

    /// The point in time at which a calendar and a clock show this. `None` where there is no such day.
    fn place_in_time(&self, run: &Run<'_>, civil: &Civil<'_>) -> Result<Option<Time>, Failure> {
        let zone = match civil.zone {
            Zone::Offset(seconds) => Offset::from_seconds(seconds).ok().map(Offset::to_time_zone),
            Zone::Name(name) => match self.zones.get(name) {
                Ok(zone) => Some(zone),
                // An abbreviation that nobody knows says nothing; a name in the database's form that is not there, or a
                // word that happens to follow, is a mistake.
                Err(_) if (3..=5).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                    self.default_zone(run)?
                }
                Err(_) => None,
            },
            Zone::Unsaid => self.default_zone(run)?,
        };
        let Some(zone) = zone else { return Ok(None) };
        Ok(resolve(civil, &zone, run.context.received_at))
    }

    /// The zone of dates that name none.
    fn default_zone(&self, run: &Run<'_>) -> Result<Option<TimeZone>, Failure> {
        match &self.zone {
            Some(Where::Known(zone)) => return Ok(Some(zone.clone())),
            Some(Where::Named(template)) => {
                let name = match run.expand(template)? {
                    Ok(name) => name,
                    Err(missing) => {
                        return Err(run.error(&missing.text, || {
                            format!("timezone: source field {:?}: field not set", missing.text)
                        }));
                    }
                };
                if !name.is_empty() {
                    return match zone_of(name, &self.zones) {
                        Some(zone) => Ok(Some(zone)),
                        None => Err(run.error("timezone", || format!("unknown time zone {name}"))),
                    };
                }
            }
            None => {}
        }
        // What a feed says of its zone is not the program's to get wrong: an unknown one counts as none.
        let of_log = run.get(&self.timezone).and_then(|value| value.as_text()).filter(|name| !name.is_empty());
        let of_log = of_log.or(run.context.timezone.as_deref());
        Ok(Some(of_log.and_then(|name| zone_of(name, &self.zones)).unwrap_or(TimeZone::UTC)))
    }
}

/// Whether a text names a zone that dates can be read in.
pub(crate) fn is_zone(text: &str) -> bool {
    zone_of(text, &TimeZoneDatabase::bundled()).is_some()
}

/// The zone of a name, an abbreviation or an offset.
fn zone_of(text: &str, zones: &TimeZoneDatabase) -> Option<TimeZone> {
    match zone_alone(text.trim_ascii())? {
        Zone::Offset(seconds) => Some(Offset::from_seconds(seconds).ok()?.to_time_zone()),
        Zone::Name(name) => zones.get(name).ok(),
        Zone::Unsaid => None,
    }
}

/// The point in time, with what the text left open taken from the time of receipt.
fn resolve(civil: &Civil<'_>, zone: &TimeZone, received_at: Time) -> Option<Time> {
    if let Some(year) = civil.year {
        return in_year(civil, year, zone, None);
    }
    let received = zone.to_datetime(received_at);
    let latest = received_at.as_second().saturating_add(AHEAD_SECONDS_MAX);
    if civil.month.is_none() && civil.day.is_none() && civil.day_of_year.is_none() {
        // A time of day alone: of the day on which it is nearest.
        let days = [Ok(received.date()), received.date().yesterday(), received.date().tomorrow()];
        let times = days
            .into_iter()
            .flatten()
            .filter_map(|day| in_year(civil, day.year(), zone, Some((day.month(), day.day()))));
        return times.min_by_key(|time| time.as_second().abs_diff(received_at.as_second()));
    }
    // February 29 has to go back up to eight years.
    (-1..=8).find_map(|back| {
        let time = in_year(civil, received.year().checked_sub(back)?, zone, None)?;
        (time.as_second() <= latest).then_some(time)
    })
}

fn in_year(civil: &Civil<'_>, year: i16, zone: &TimeZone, day: Option<(i8, i8)>) -> Option<Time> {
    let (month, day) = match (day, civil.day_of_year) {
        (Some(day), _) => day,
        (None, Some(days)) => {
            let date =
                jiff::civil::Date::new(year, 1, 1).ok()?.checked_add(jiff::Span::new().days(i64::from(days) - 1));
            let date = date.ok().filter(|date| date.year() == year)?;
            (date.month(), date.day())
        }
        (None, None) => (civil.month.unwrap_or(1) as i8, civil.day.unwrap_or(1) as i8),
    };
    let shown =
        DateTime::new(year, month, day, civil.hour as i8, civil.minute as i8, civil.second as i8, civil.nanos as i32);
    zone.to_timestamp(shown.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use bumpalo::Bump;

    use super::*;
    use crate::run::Context;
    use crate::syntax::ast::StatementKind;
    use crate::syntax::parse;
    use crate::value::Heap;

    /// What `@timestamp` is after a `date` with these options, for a log received at a time, with `t` holding a value
    /// and `zone` a text; the error otherwise.
    fn date_of(options: &str, received: &str, log_zone: Option<&str>, value: Option<Value<'_>>) -> String {
        let source = format!("filter {{ date {{ {options} }} }}");
        let file = parse::parse(&source).expect("the test's program is well formed");
        let StatementKind::Plugin(plugin) = &file.body[0].kind else { panic!("no plugin") };
        let mut build = Build::new();
        let Some(date) = Date::compile(&Options { plugin }, &mut build) else {
            return build.diagnostics[0].message.clone();
        };
        let [t, zone, stamp] = ["t", "zone", "@timestamp"].map(|name| build.names.intern(name));
        let bump = Bump::new();
        let mut context = Context::new(received.parse().expect("a time"));
        context.timezone = log_zone.map(str::to_owned);
        let run = Run::new(Heap::new(&bump, &build.names, 1 << 20), &context, 1000).expect("room");
        if let Some(value) = value {
            let value = match value {
                Value::Text(text) => Value::Text(run.heap.text(text).expect("room")),
                Value::Float(number) => Value::Float(number),
                Value::Int(number) => Value::Int(number),
                Value::Time(time) => Value::Time(time),
                _ => Value::List(run.heap.list().expect("room")),
            };
            run.root.set(&run.heap, t, value).expect("room");
        }
        run.root.set(&run.heap, zone, Value::Text("Asia/Tokyo")).expect("room");
        match date.run(&run) {
            Ok(()) => match run.root.get(stamp) {
                Some(Value::Time(time)) => time.to_string(),
                _ => "elsewhere".to_owned(),
            },
            Err(Failure::Error(Some(fault))) => fault.text,
            Err(failure) => format!("{failure:?}"),
        }
    }

    const RECEIVED: &str = "2026-11-26T12:00:00Z";

    #[test]
    fn the_first_format_that_fits_counts() {
        // contracts/cbn.md §1.5: formats in order; the default target is @timestamp.
        let table = [
            (r#"match => ["t", "ISO8601", "UNIX"]"#, "1700000000", "2023-11-14T22:13:20Z"),
            (r#"match => ["t", "dd/MM/yyyy", "MM/dd/yyyy"]"#, "05/06/2024", "2024-06-05T00:00:00Z"),
            (r#"match => ["t", "dd/MM/yyyy", "MM/dd/yyyy"]"#, "05/16/2024", "2024-05-16T00:00:00Z"),
            (r#"match => ["t", "yyyy-MM-dd"]"#, "  2024-02-29\r\n", "2024-02-29T00:00:00Z"),
            (r#"match => ["t", "yyyy-MM-dd"] target => "a.b""#, "2024-02-29", "elsewhere"),
            (r#"match => ["t", "yyyy-DDD"]"#, "2024-366", "2024-12-31T00:00:00Z"),
            // A day that there is not, and times beyond what can be told, fit no format.
            (r#"match => ["t", "yyyy-MM-dd"]"#, "2023-02-29", "source field \"t\": no format matches \"2023-02-29\""),
            (r#"match => ["t", "yyyy-DDD"]"#, "2023-366", "source field \"t\": no format matches \"2023-366\""),
            (r#"match => ["t", "UNIX"]"#, "999999999999", "source field \"t\": no format matches \"999999999999\""),
            (r#"match => ["t", "UNIX"]"#, "", "source field \"t\": no format matches \"\""),
            (r#"match => ["t", "words only"]"#, "words", "source field \"t\": no format matches \"words\""),
            (r#"match => ["u", "UNIX"]"#, "1", "source field \"u\": field not set"),
            (r#"target => "a""#, "1", "match of date needs a field and formats"),
        ];
        for (options, text, expected) in table {
            assert_eq!(date_of(options, RECEIVED, None, Some(Value::Text(text))), expected, "{options} on {text}");
        }
    }

    #[test]
    fn values_that_are_no_texts() {
        // Numbers do for counts of time, a time is one already (own assumption, no source).
        let options = r#"match => ["t", "ISO8601", "UNIX_MS", "UNIX"]"#;
        let time: Time = "2024-05-06T07:08:09.5Z".parse().expect("a time");
        let table = [
            (Value::Float(1_700_000_000_123.0), "2023-11-14T22:13:20.123Z"),
            (Value::Int(-1), "1969-12-31T23:59:59.999Z"),
            // The shortest digits of a float count, not its exact value.
            (Value::Float(1_795_766_537_123.1), "2026-11-27T08:02:17.1231Z"),
            (Value::Float(-0.5), "1969-12-31T23:59:59.9995Z"),
            (Value::Float(1e-300), "1970-01-01T00:00:00Z"),
            (Value::Float(1e17), "source field \"t\": no format matches \"100000000000000000\""),
            (Value::Time(time), "2024-05-06T07:08:09.5Z"),
            (Value::Float(f64::INFINITY), "source field \"t\": no format matches \"inf\""),
            (Value::Float(f64::NAN), "source field \"t\": no format matches \"NaN\""),
            (Value::Bool(true), "source field \"t\": no format matches \"list\""),
        ];
        for (value, expected) in table {
            assert_eq!(date_of(options, RECEIVED, None, Some(value)), expected, "{value:?}");
        }
        let seconds = [
            (1_795_766_537.1, "2026-11-27T08:02:17.1Z"),
            (1_795_766_537.123_456, "2026-11-27T08:02:17.123456Z"),
            (1_795_766_537.0, "2026-11-27T08:02:17Z"),
            (0.1 + 0.2, "1970-01-01T00:00:00.3Z"),
            (-1.1, "1969-12-31T23:59:58.9Z"),
        ];
        for (number, expected) in seconds {
            let options = r#"match => ["t", "UNIX"]"#;
            assert_eq!(date_of(options, RECEIVED, None, Some(Value::Float(number))), expected, "{number}");
        }
        assert_eq!(date_of(options, RECEIVED, None, None), "source field \"t\": field not set");
    }

    #[test]
    fn zones_from_the_text_the_option_and_the_log() {
        // Google's documentation, date: timezone; contracts/cbn.md §1.3: @timezone.
        let plain = r#"match => ["t", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss Z"]"#;
        let table = [
            ("", None, "2024-07-01 12:00:00", "2024-07-01T12:00:00Z"),
            ("", Some("Europe/Paris"), "2024-07-01 12:00:00", "2024-07-01T10:00:00Z"),
            ("", Some("Europe/Paris"), "2024-01-01 12:00:00", "2024-01-01T11:00:00Z"),
            ("", Some("-03:00"), "2024-07-01 12:00:00", "2024-07-01T15:00:00Z"),
            ("", Some("Nowhere/Land"), "2024-07-01 12:00:00", "2024-07-01T12:00:00Z"),
            (r#"timezone => "America/New_York""#, Some("Europe/Paris"), "2024-07-01 12:00:00", "2024-07-01T16:00:00Z"),
            (r#"timezone => "Etc/GMT+12""#, None, "2024-07-01 12:00:00", "2024-07-02T00:00:00Z"),
            (r#"timezone => "+05:30""#, None, "2024-07-01 12:00:00", "2024-07-01T06:30:00Z"),
            (r#"timezone => "%{zone}""#, None, "2024-07-01 12:00:00", "2024-07-01T03:00:00Z"),
            (r#"timezone => "%{none}""#, None, "2024-07-01 12:00:00", "timezone: source field \"none\": field not set"),
            (r#"timezone => "Nowhere/Land""#, None, "2024-07-01 12:00:00", "unknown time zone Nowhere/Land"),
            // What the text says outweighs all of them.
            (r#"timezone => "Asia/Tokyo""#, None, "2024-07-01 12:00:00 +0200", "2024-07-01T10:00:00Z"),
            (r#"timezone => "Nowhere/Land""#, None, "2024-07-01 12:00:00 UTC", "2024-07-01T12:00:00Z"),
            ("", None, "2024-07-01 12:00:00 America/New_York", "2024-07-01T16:00:00Z"),
            (r#"timezone => "Asia/Tokyo""#, None, "2024-07-01 12:00:00 QQQT", "2024-07-01T03:00:00Z"),
            // An hour that summer time leaves out is read with the time before the change, one that there is twice, too.
            (r#"timezone => "Europe/Paris""#, None, "2024-03-31 02:30:00", "2024-03-31T01:30:00Z"),
            (r#"timezone => "Europe/Paris""#, None, "2024-10-27 02:30:00", "2024-10-27T00:30:00Z"),
        ];
        for (options, log_zone, text, expected) in table {
            let options = format!("{plain} {options}");
            let got = date_of(&options, RECEIVED, log_zone, Some(Value::Text(text)));
            assert_eq!(got, expected, "{options} with {log_zone:?} on {text}");
        }
    }

    #[test]
    fn dates_without_a_year() {
        // contracts/cbn.md §1.8: rebase takes the year from the receipt; a date that is a day ahead is last year's.
        let table = [
            ("2026-07-12T11:03:11Z", "Jul 12 11:03:10", "2026-07-12T11:03:10Z"),
            ("2026-07-12T11:03:11Z", "Jul 13 11:03:11", "2026-07-13T11:03:11Z"),
            ("2026-07-12T11:03:11Z", "Jul 13 11:03:12", "2025-07-13T11:03:12Z"),
            ("2026-01-01T00:00:05Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("2025-12-31T23:59:59Z", "Jan  1 00:00:03", "2026-01-01T00:00:03Z"),
            ("2026-07-12T11:03:11Z", "Feb 29 00:00:00", "2024-02-29T00:00:00Z"),
            ("2103-07-12T11:03:11Z", "Feb 29 00:00:00", "2096-02-29T00:00:00Z"),
            ("2026-07-12T11:03:11Z", "Feb 30 00:00:00", "source field \"t\": no format matches \"Feb 30 00:00:00\""),
            ("2026-07-12T12:03:11Z", "23:30", "2026-07-12T23:30:00Z"),
            ("2026-07-12T23:03:11Z", "00:30", "2026-07-13T00:30:00Z"),
            ("2026-07-12T01:03:11Z", "22:30", "2026-07-11T22:30:00Z"),
            ("9999-12-30T21:00:00Z", "Dec 30 21:00:00", "9999-12-30T21:00:00Z"),
            ("-009999-01-02T03:00:00Z", "Jan  2 03:00:00", "-009999-01-02T03:00:00Z"),
        ];
        for rebase in ["", "rebase => true"] {
            for (received, text, expected) in table {
                let options = format!(r#"match => ["t", "MMM d HH:mm:ss", "HH:mm"] {rebase}"#);
                assert_eq!(date_of(&options, received, None, Some(Value::Text(text))), expected, "{received} {text}");
            }
        }
    }
}
