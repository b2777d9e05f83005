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
use crate::compile::{Build, Options, words_of};
use crate::path::{Path, Target, Template};
use crate::run::{Failure, Run};
use crate::value::{Time, Value};

/// How much later than its receipt a log may be before its year is thought to be the one before: clocks go wrong, and
/// zones are left out.
const AHEAD_SECONDS_MAX: i64 = 24 * 3600;

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
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build<'_>) -> Option<Date> {
        options.all("match").last().or_else(|| {
            options.required("match", build);
            None
        })?;
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
        let Some(source) = run.place(&self.source)? else {
            return Err(run.error("", || "the name of the source holds a field that is not set".to_owned()));
        };
        let Some(value) = run.get(&source) else {
            return Err(run.error(&source.text, || format!("source field \"{}\": field not set", source.text)));
        };
        let time = match value {
            Value::Text(text) => self.read(run, text.trim_ascii())?,
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
                let shown: String = shown.chars().take(100).collect();
                format!("field \"{}\": no format matches \"{shown}\"", source.text)
            }));
        };
        let Some(target) = run.place(&self.target)? else {
            return Err(run.error("", || "the name of the target holds a field that is not set".to_owned()));
        };
        run.set(&target, Value::Time(time))
    }

    /// The time that the first format that fits makes of a text.
    fn read(&self, run: &Run<'_>, text: &str) -> Result<Option<Time>, Failure> {
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
                            format!("timezone: source field \"{}\": field not set", missing.text)
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
        // A time of day alone: the latest day at which it is not too far ahead.
        let days = [received.date().tomorrow().ok()?, received.date(), received.date().yesterday().ok()?];
        return days.into_iter().find_map(|day| {
            let time = in_year(civil, day.year(), zone, Some((day.month(), day.day())))?;
            (time.as_second() <= latest).then_some(time)
        });
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
