//! `convert`: one value to another type (contracts/cbn.md §1.6).
//!
//! A value that is of the type already is an error: programs call the flag of that `already_a_string`.

use std::net::IpAddr;

use crate::run::{Failure, Run};
use crate::value::{Value, print};

/// What `convert` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Uinteger,
    Float,
    Boolean,
    IpAddress,
    MacAddress,
    Hash,
    HexToDec,
    HexToAscii,
    Bytes,
    BytesToHex,
    BytesToIp,
    MillisToNanos,
    MillisToSecs,
    UserAgent,
}

impl Kind {
    /// The names, as the language has them.
    pub(crate) const NAMES: [&'static str; 16] = [
        "string",
        "integer",
        "uinteger",
        "float",
        "boolean",
        "ipaddress",
        "macaddress",
        "hash",
        "hextodec",
        "hextoascii",
        "bytes",
        "bytestohex",
        "bytestoip",
        "millitonanos",
        "millitosecs",
        "parseduseragent",
    ];

    /// The type of a name.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Some(match name.to_ascii_lowercase().as_str() {
            "string" => Kind::Text,
            "integer" | "int" => Kind::Integer,
            "uinteger" | "uint" => Kind::Uinteger,
            "float" => Kind::Float,
            "boolean" | "bool" => Kind::Boolean,
            "ipaddress" => Kind::IpAddress,
            "macaddress" => Kind::MacAddress,
            "hash" => Kind::Hash,
            "hextodec" => Kind::HexToDec,
            "hextoascii" => Kind::HexToAscii,
            "bytes" => Kind::Bytes,
            "bytestohex" => Kind::BytesToHex,
            "bytestoip" => Kind::BytesToIp,
            "millitonanos" => Kind::MillisToNanos,
            "millitosecs" => Kind::MillisToSecs,
            "parseduseragent" => Kind::UserAgent,
            _ => return None,
        })
    }
}

/// Converts a value; the reason where it cannot be converted.
pub(crate) fn convert<'r>(run: &Run<'r>, value: Value<'r>, kind: Kind) -> Result<Result<Value<'r>, String>, Failure> {
    let heap = &run.heap;
    run.step_bytes(match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    })?;
    let converted = match (kind, value) {
        (Kind::Text, Value::Text(_)) => Err("the field is a string already".to_owned()),
        (Kind::Text, value) => match print(&value) {
            Some(text) => Ok(Value::Text(heap.text(&text)?)),
            None => Err(format!("a {} cannot be made a string", value.type_name())),
        },

        (Kind::Integer, Value::Int(_)) => Err("the field is an integer already".to_owned()),
        (Kind::Integer, Value::Uint(number)) => i64::try_from(number).map(Value::Int).map_err(|_| too_large(number)),
        (Kind::Integer, Value::Float(number)) => whole(number).map(Value::Int),
        (Kind::Integer, Value::Text(text)) => {
            text.trim().parse::<i64>().map(Value::Int).map_err(|_| no_number(text, "integer"))
        }

        (Kind::Uinteger, Value::Uint(_)) => Err("the field is an uinteger already".to_owned()),
        (Kind::Uinteger, Value::Int(number)) => u64::try_from(number).map(Value::Uint).map_err(|_| too_large(number)),
        (Kind::Uinteger, Value::Float(number)) => {
            if (0.0..18_446_744_073_709_551_616.0).contains(&number) {
                Ok(Value::Uint(number as u64))
            } else {
                Err(too_large(number))
            }
        }
        (Kind::Uinteger, Value::Text(text)) => {
            text.trim().parse::<u64>().map(Value::Uint).map_err(|_| no_number(text, "uinteger"))
        }

        (Kind::Float, Value::Float(_)) => Err("the field is a float already".to_owned()),
        (Kind::Float, Value::Int(number)) => Ok(Value::Float(number as f64)),
        (Kind::Float, Value::Uint(number)) => Ok(Value::Float(number as f64)),
        (Kind::Float, Value::Text(text)) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(no_number(text, "float")),
        },

        (Kind::Boolean, Value::Bool(_)) => Err("the field is a boolean already".to_owned()),
        // The spellings of Go's strconv.ParseBool.
        (Kind::Boolean, Value::Text(text)) => match text.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("\"{text}\" is no boolean")),
        },
        (Kind::Boolean, Value::Float(number)) => Ok(Value::Bool(number != 0.0)),
        (Kind::Boolean, Value::Int(number)) => Ok(Value::Bool(number != 0)),
        (Kind::Boolean, Value::Uint(number)) => Ok(Value::Bool(number != 0)),

        (Kind::IpAddress, Value::Text(text)) => match text.trim().parse::<IpAddr>() {
            Ok(_) => Ok(Value::Text(text.trim())),
            Err(_) => Err(format!("\"{text}\" is no IP address")),
        },
        (Kind::MacAddress, Value::Text(text)) => match mac(text) {
            Some(mac) => Ok(Value::Text(heap.text(&mac)?)),
            None => Err(format!("\"{text}\" is no MAC address")),
        },
        (Kind::Hash, Value::Text(text)) => {
            let digits = text.trim();
            match digits.len() {
                32 | 40 | 56 | 64 | 96 | 128 if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    Ok(Value::Text(heap.text(&digits.to_ascii_lowercase())?))
                }
                _ => Err(format!("\"{text}\" is no hash")),
            }
        }

        (Kind::HexToDec, Value::Text(text)) => {
            let digits = text.trim().trim_start_matches("0x").trim_start_matches("0X");
            match u64::from_str_radix(digits, 16) {
                Ok(number) => Ok(Value::Text(heap.text(&number.to_string())?)),
                Err(_) => Err(no_number(text, "hexadecimal number")),
            }
        }
        (Kind::HexToAscii, Value::Text(text)) => {
            let digits = text.trim().trim_start_matches("0x").trim_start_matches("0X");
            match hex::decode(digits) {
                Ok(bytes) => Ok(Value::Text(heap.text(&String::from_utf8_lossy(&bytes))?)),
                Err(_) => Err(no_number(text, "hexadecimal text")),
            }
        }

        (Kind::Bytes, Value::Text(text)) => Ok(Value::Bytes(text.as_bytes())),
        (Kind::Bytes, Value::Bytes(_)) => Err("the field is bytes already".to_owned()),
        (Kind::BytesToHex, Value::Bytes(bytes)) => Ok(Value::Text(heap.text(&hex::encode(bytes))?)),
        (Kind::BytesToHex, Value::Text(text)) => Ok(Value::Text(heap.text(&hex::encode(text))?)),
        (Kind::BytesToIp, Value::Bytes(bytes)) => match address(bytes) {
            Some(address) => Ok(Value::Text(heap.text(&address.to_string())?)),
            None => Err(format!("{} bytes are no IP address", bytes.len())),
        },

        (Kind::MillisToNanos, value) => match millis(&value) {
            Some(millis) => match millis.checked_mul(1_000_000) {
                Some(nanos) => Ok(Value::Int(nanos)),
                None => Err(too_large(millis)),
            },
            None => Err("the field is no number of milliseconds".to_owned()),
        },
        (Kind::MillisToSecs, value) => match millis(&value) {
            Some(millis) => Ok(Value::Int(millis.div_euclid(1000))),
            None => Err("the field is no number of milliseconds".to_owned()),
        },

        (Kind::UserAgent, Value::Text("")) => Err("the field is empty".to_owned()),
        (Kind::UserAgent, Value::Text(text)) => {
            run.step_bytes(8 * text.len())?;
            Ok(crate::output::user_agent::to_value(&crate::output::user_agent::parse(text), heap)?)
        }

        (_, value) => Err(format!("a {} cannot be converted to this type", value.type_name())),
    };
    Ok(converted)
}

fn no_number(text: &str, kind: &str) -> String {
    format!("\"{text}\" is no {kind}")
}

fn too_large(number: impl std::fmt::Display) -> String {
    format!("{number} is out of range")
}

fn whole(number: f64) -> Result<i64, String> {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        Ok(number as i64)
    } else {
        Err(too_large(number))
    }
}

fn millis(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        Value::Float(number) => whole(*number).ok(),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A MAC address in the form in which UDM keeps it: lower case, colons. `None` where it is none.
fn mac(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|character| !matches!(character, ':' | '-' | '.')).collect();
    if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let pairs: Vec<&str> = (0..12).step_by(2).map(|at| &digits[at..at + 2]).collect();
    Some(pairs.join(":"))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
