//! User agents: what `convert … parseduseragent` makes of a text, and how that is shown.
//!
//! The text is read by its structure (RFC 9110 §10.1.5: products with versions, and comments), in which browsers have
//! habits of their own: what they run on stands in the first comment, the engine and the brand in the products behind
//! it. There is no list of known agents, only of words that mean something: engines, systems, and brands that go by an
//! abbreviation.
//!
//! Google's message for this is not in the published schema of UDM. The names of its fields and families are those of
//! `UserAgentProto` in Google's API reference; which field gets what, the order of annotations and the spelling of the
//! enums come from what Google's engine shows for a desktop browser [G]. What that does not cover (the enums of other
//! systems and browsers above all) is named by the same scheme. Java profiles, messaging, carriers and toolbars are left
//! out: no agent of this decade has them.

use crate::run::Failure;
use crate::value::{Heap, Value};

/// How many products and comments are looked at; what is behind is not.
const PIECES_MAX: usize = 64;

/// A user agent, as slices of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAgent<'t> {
    /// The kind of engine or maker: `APPLEWEBKIT`, `GECKO`, …, `USER_DEFINED` for all that is no browser.
    pub family: &'static str,
    /// The engine's own name.
    pub sub_family: Option<&'t str>,
    /// What it runs on in one word: `Windows`, `Macintosh`, `Linux`, `iPhone`.
    pub platform: Option<&'t str>,
    /// The hardware, as far as it is told.
    pub device: Option<&'t str>,
    /// The version of the hardware.
    pub device_version: Option<&'t str>,
    /// The strength of encryption, as old browsers tell it: `U`, `I` or `N`.
    pub security: Option<&'t str>,
    /// The language of its surface.
    pub locale: Option<&'t str>,
    /// The operating system with its version.
    pub os: Option<&'t str>,
    /// What is said of the operating system beside that: `Win64`, `Build/…`.
    pub os_variant: Option<&'t str>,
    /// The operating system as an enum.
    pub os_type: &'static str,
    /// The brand.
    pub browser: Option<&'t str>,
    /// The brand's version.
    pub browser_version: Option<&'t str>,
    /// The engine's version.
    pub browser_engine_version: Option<&'t str>,
    /// The brand as an enum.
    pub browser_type: &'static str,
    /// What else there is, in Google's order: products, system, and what nobody knows.
    pub annotations: Vec<Annotation<'t>>,
}

/// Something that has no field of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation<'t> {
    /// What it is.
    pub key: &'t str,
    /// What it says.
    pub value: &'t str,
}

/// Reads a user agent. Whatever the text is, something comes out: at least the family `USER_DEFINED`.
pub fn parse(text: &str) -> UserAgent<'_> {
    let pieces = pieces(text);
    let mut agent = UserAgent {
        family: "USER_DEFINED",
        sub_family: None,
        platform: None,
        device: None,
        device_version: None,
        security: None,
        locale: None,
        os: None,
        os_variant: None,
        os_type: "OS_TYPE_UNKNOWN",
        browser: None,
        browser_version: None,
        browser_engine_version: None,
        browser_type: "BROWSER_TYPE_UNKNOWN",
        annotations: Vec::new(),
    };
    let products = || {
        pieces.iter().filter_map(|piece| match piece {
            Piece::Product(product) => Some(product),
            Piece::Comment(_) => None,
        })
    };
    let named = |name: &str| products().find(|product| product.name == name);
    let items: Vec<&str> = pieces
        .iter()
        .find_map(|piece| match piece {
            Piece::Comment(comment) if !comment.starts_with("KHTML") => Some(*comment),
            _ => None,
        })
        .map(|comment| comment.split(';').map(str::trim).filter(|item| !item.is_empty()).take(PIECES_MAX).collect())
        .unwrap_or_default();
    let item_after = |prefix: &str| items.iter().find_map(|item| item.strip_prefix(prefix));
    let first = products().next();

    // Which engine: in the order in which they imitate each other, the last imitator first.
    if let Some(presto) = named("Opera").or_else(|| named("Presto")) {
        agent.family = "OPERA";
        agent.sub_family = Some("Opera");
        agent.browser = Some("Opera");
        agent.browser_engine_version = presto.version;
        agent.browser_version = named("Version").unwrap_or(presto).version;
    } else if item_after("MSIE ").is_some() || item_after("Trident/").is_some() {
        agent.family = "MSIE";
        agent.sub_family = Some("MSIE");
        agent.browser = Some("MSIE");
        agent.browser_engine_version = item_after("Trident/");
        agent.browser_version = item_after("MSIE ").or_else(|| item_after("rv:"));
    } else if let Some(engine) = named("AppleWebKit") {
        agent.family = "APPLEWEBKIT";
        agent.sub_family = Some(engine.name);
        agent.browser_engine_version = engine.version;
        let brand = products().skip(1).find(|product| product.is_brand()).or_else(|| named("Chrome"));
        if let Some(brand) = brand {
            agent.browser = Some(brand.brand());
            agent.browser_version = brand.version;
        } else if let Some(safari) = named("Safari") {
            agent.browser = Some(safari.name);
            agent.browser_version = named("Version").unwrap_or(safari).version;
        }
    } else if let Some(engine) = named("Gecko") {
        agent.family = "GECKO";
        agent.sub_family = Some(engine.name);
        agent.browser_engine_version = item_after("rv:").or(engine.version);
        if let Some(brand) = products().skip(1).filter(|product| product.is_brand()).last() {
            agent.browser = Some(brand.brand());
            agent.browser_version = brand.version;
        }
    } else if let Some(engine) = named("KHTML").or_else(|| named("Konqueror")) {
        agent.family = "KHTML";
        agent.sub_family = Some("KHTML");
        agent.browser = Some("Konqueror");
        agent.browser_engine_version = engine.version;
        agent.browser_version = named("Konqueror").and_then(|product| product.version).or(item_after("Konqueror/"));
    } else if let Some(product) = first {
        // No browser engine: the first product is what it calls itself, unless that is only the greeting of browsers.
        // What only greets like a browser names itself in the comment, if anywhere: `(compatible; Agent/1.0)`.
        let inner = items.iter().find_map(|item| match item.split_once('/') {
            Some((name, version)) if !name.is_empty() && !name.contains(':') && !version.is_empty() => {
                Some(Product { name, version: Some(version), text: item })
            }
            _ => None,
        });
        let product = match product.name {
            "Mozilla" => products().nth(1).filter(|product| product.version.is_some()).or(inner.as_ref()),
            _ => Some(product),
        };
        if let Some(product) = product {
            agent.family = maker(product.name, named("CFNetwork").is_some());
            if matches!(agent.family, "BLACKBERRY" | "NOKIA" | "SEMC") {
                agent.device = Some(product.name);
                agent.device_version = product.version;
            } else if product.version.is_some() || items.is_empty() {
                agent.browser = Some(product.name);
                agent.browser_version = product.version;
            }
        }
    }

    for product in products().filter(|product| product.version.is_some()) {
        // The engines have fields of their own, and the greeting says nothing.
        if !matches!(product.name, "Mozilla" | "AppleWebKit" | "Gecko") && agent.annotations.len() < PIECES_MAX {
            let key = if product.name == "Safari" { "SafariType" } else { product.name };
            agent.annotations.push(Annotation { key, value: product.text });
        }
    }

    agent.surroundings(&items);
    if agent.os.is_none() && !text.contains('/') && system(text.trim()).is_some() {
        // A text that is only the name of a system.
        agent.family = "USER_DEFINED";
        agent.os = Some(text.trim());
        agent.browser = None;
    }
    if agent.os.is_none() {
        // Programs of the system name it as a product: `Darwin/23.1.0`.
        agent.os = products().find(|product| system(product.name).is_some()).map(|product| product.text);
    }
    agent.finish();
    agent
}

impl<'t> UserAgent<'t> {
    /// Reads what the first comment tells of the surroundings.
    fn surroundings(&mut self, items: &[&'t str]) {
        let mut rest = Vec::new();
        for item in items {
            match *item {
                "U" | "I" | "N" => self.security = Some(item),
                "Windows" | "Macintosh" | "X11" | "Wayland" | "Linux" | "iPhone" | "iPad" | "iPod" | "iPod touch" => {
                    self.platform.get_or_insert(item);
                }
                "Win64" | "WOW64" | "Win32" | "Ubuntu" | "Fedora" | "Debian" => {
                    self.os_variant.get_or_insert(item);
                }
                _ if item.starts_with("MSIE ") || item.starts_with("Trident/") || item.starts_with("rv:") => {}
                "compatible" => {}
                _ if self.os.is_none() && system(item).is_some() => self.os = Some(item),
                _ if locale(item) => self.locale = Some(item),
                _ => rest.push(*item),
            }
        }
        if let Some("iPhone" | "iPad" | "iPod" | "iPod touch") = self.platform {
            self.device = self.platform;
        }
        for item in rest {
            // Android tells the device behind its version, and the build of the system with it.
            let (name, build) = match item.find("Build/") {
                Some(at) => (item[..at].trim_end(), Some(&item[at..])),
                None => (item, None),
            };
            let android = self.os.is_some_and(|os| os.starts_with("Android"));
            if let Some(build) = build {
                self.os_variant.get_or_insert(build);
            }
            let shape = matches!(name, "Mobile" | "Tablet" | "wv" | "TV");
            // Products, addresses and parts of the system are no hardware.
            let other = name.contains(['/', ':']) || name.starts_with(['.', '+']) || name.is_empty();
            let known = self.device.is_some() || shape || other;
            if !known {
                self.device = Some(name);
            }
            if (!android || known) && !name.is_empty() && self.annotations.len() < PIECES_MAX {
                self.annotations.push(Annotation { key: MISC, value: name });
            }
        }
    }

    /// What follows from the fields: enums, platform, and the system's annotations before those of what nobody knows.
    fn finish(&mut self) {
        if let Some(os) = self.os {
            let (kind, platform) = system(os).unwrap_or(("OS_TYPE_UNKNOWN", os));
            self.os_type = kind;
            // `X11` tells of the display, not of the system.
            if matches!(self.platform, None | Some("X11" | "Wayland")) {
                self.platform = Some(platform);
            }
            let at = self.annotations.iter().position(|one| one.key == MISC).unwrap_or(self.annotations.len());
            let (name, version) = name_and_version(os);
            if let Some(version) = version {
                self.annotations.insert(at, Annotation { key: "OS_VERSION", value: version });
            }
            self.annotations.insert(at, Annotation { key: "OS_NAME", value: name });
        }
        self.browser_type = match self.browser {
            Some("Chrome" | "Chromium" | "HeadlessChrome") => "BROWSER_TYPE_CHROME",
            Some("Firefox") => "BROWSER_TYPE_FIREFOX",
            Some("Safari") => "BROWSER_TYPE_SAFARI",
            Some("Edge") => "BROWSER_TYPE_EDGE",
            Some("Opera") => "BROWSER_TYPE_OPERA",
            Some("MSIE") => "BROWSER_TYPE_MSIE",
            _ => "BROWSER_TYPE_UNKNOWN",
        };
    }

    /// The fields that are there, by the names that JSON shows.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &'t str)> {
        [
            ("family", Some(self.family)),
            ("subFamily", self.sub_family),
            ("platform", self.platform),
            ("device", self.device),
            ("deviceVersion", self.device_version),
            ("security", self.security),
            ("locale", self.locale),
            ("os", self.os),
            ("osVariant", self.os_variant),
            ("osType", Some(self.os_type)),
            ("osVariantType", Some("OS_VARIANT_TYPE_UNKNOWN")),
            ("browser", self.browser),
            ("browserVersion", self.browser_version),
            ("browserEngineVersion", self.browser_engine_version),
            ("browserType", Some(self.browser_type)),
            ("browserVariantType", Some("BROWSER_VARIANT_TYPE_UNKNOWN")),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The agent as a map with the names that Google's JSON has. Its texts are those of the agent, not copies.
pub fn to_value<'r>(agent: &UserAgent<'r>, heap: &Heap<'r>) -> Result<Value<'r>, Failure> {
    let map = heap.map()?;
    for (name, value) in agent.fields() {
        map.set(heap, heap.name(name)?, Value::Text(value))?;
    }
    if !agent.annotations.is_empty() {
        let list = heap.list()?;
        let (key, value) = (heap.name("key")?, heap.name("value")?);
        for annotation in &agent.annotations {
            let entry = heap.map()?;
            entry.set(heap, key, Value::Text(annotation.key))?;
            entry.set(heap, value, Value::Text(annotation.value))?;
            list.push(heap, Value::Map(entry))?;
        }
        map.set(heap, heap.name("annotation")?, Value::List(list))?;
    }
    Ok(Value::Map(map))
}

/// How JSON spells a field that a program names: programs set single fields of what was parsed, in the spelling of the
/// language.
pub(super) fn spelling(name: &str) -> Option<&'static str> {
    Some(match name {
        "sub_family" => "subFamily",
        "device_version" => "deviceVersion",
        "os_variant" => "osVariant",
        "os_type" => "osType",
        "os_variant_type" => "osVariantType",
        "browser_version" => "browserVersion",
        "browser_engine_version" => "browserEngineVersion",
        "browser_type" => "browserType",
        "browser_variant_type" => "browserVariantType",
        _ => return None,
    })
}

/// The key of annotations that nothing is known of.
const MISC: &str = "misc";

/// Part of a user agent.
#[derive(Debug)]
enum Piece<'t> {
    Product(Product<'t>),
    /// What stands between parentheses.
    Comment(&'t str),
}

#[derive(Debug)]
struct Product<'t> {
    name: &'t str,
    version: Option<&'t str>,
    /// Both, as written.
    text: &'t str,
}

impl<'t> Product<'t> {
    /// Whether it may be the brand of a browser: it has a version and is no part that all browsers of its kind name.
    fn is_brand(&self) -> bool {
        let common =
            ["Mozilla", "AppleWebKit", "Gecko", "Version", "Mobile", "Safari", "Chrome", "KHTML", "Ubuntu", "Build"];
        self.version.is_some() && !common.contains(&self.name)
    }

    /// The brand's own name.
    fn brand(&self) -> &'t str {
        match self.name {
            "Edg" | "EdgA" | "EdgiOS" => "Edge",
            "OPR" | "OPiOS" | "OPX" => "Opera",
            "CriOS" => "Chrome",
            "FxiOS" => "Firefox",
            name => name,
        }
    }
}

/// Takes a text apart. Parentheses may be nested; one that is not closed goes to the end.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && pieces.len() < PIECES_MAX {
        let start = at;
        match bytes[at] {
            b'(' | b'[' => {
                let (open, close) = if bytes[at] == b'(' { (b'(', b')') } else { (b'[', b']') };
                let mut depth = 0_usize;
                while at < bytes.len() {
                    depth = depth + usize::from(bytes[at] == open) - usize::from(bytes[at] == close);
                    if depth == 0 {
                        break;
                    }
                    at += 1;
                }
                pieces.push(Piece::Comment(text[start + 1..at].trim()));
                at += 1;
            }
            byte if byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b')' | b']') => at += 1,
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'(' | b',' | b';');
                at += bytes[at..].iter().position(ends).unwrap_or(bytes.len() - at);
                let word = &text[start..at];
                let (name, version) = match word.split_once('/') {
                    Some((name, version)) if !name.is_empty() && !version.is_empty() => (name, Some(version)),
                    _ => (word.trim_end_matches('/'), None),
                };
                if name.is_empty() {
                    continue;
                }
                let mut product = Product { name, version, text: word };
                // Words before the first version belong to the name (`Some Agent/1.0`), and Android's Safari is mobile.
                let opening = pieces.len() == 1;
                if let Some(Piece::Product(before)) = pieces.last()
                    && before.version.is_none()
                    && version.is_some()
                    && (opening || (before.name == "Mobile" && name == "Safari"))
                {
                    let from = before.text.as_ptr() as usize - text.as_ptr() as usize;
                    product.text = &text[from..at];
                    if opening {
                        product.name = &text[from..start + name.len()];
                    }
                    pieces.pop();
                }
                pieces.push(Piece::Product(product));
            }
        }
    }
    pieces
}

/// The family of an agent that names no engine.
fn maker(name: &str, apple: bool) -> &'static str {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let makers = [
        ("BlackBerry", "BLACKBERRY"),
        ("DoCoMo", "DOCOMO"),
        ("Google", "GOOGLE"),
        ("Microsoft", "MICROSOFT"),
        ("Windows", "MICROSOFT"),
        ("NSPlayer", "MICROSOFT"),
        ("Nokia", "NOKIA"),
        ("SonyEricsson", "SEMC"),
        ("UP.Browser", "OPENWAVE"),
        ("NetFront", "NETFRONT"),
        ("Obigo", "OBIGO"),
        ("Teleca", "TELECA"),
        ("Polaris", "POLARIS"),
    ];
    match makers.iter().find(|(prefix, _)| starts(prefix)) {
        Some((_, family)) => family,
        None if apple => "APPLE",
        None => "USER_DEFINED",
    }
}

/// The enum and the one-word name of a system, if that is what a text names. Enums go by the names that UDM has for
/// platforms.
fn system(text: &str) -> Option<(&'static str, &'static str)> {
    let starts = |prefix: &str| {
        text.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    let apple = text.contains("like Mac OS X") || starts("iPhone OS") || starts("iOS") || starts("iPadOS");
    Some(match () {
        () if starts("Windows") => ("OS_TYPE_WINDOWS", "Windows"),
        () if text.starts_with("Win9") => ("OS_TYPE_WINDOWS", "Windows"),
        () if starts("Android") => ("OS_TYPE_ANDROID", "Android"),
        () if apple => ("OS_TYPE_IOS", "iOS"),
        () if text.contains("Mac OS X") || starts("macOS") || starts("Mac_PowerPC") => ("OS_TYPE_MAC", "Macintosh"),
        () if starts("Darwin") => ("OS_TYPE_MAC", "Macintosh"),
        () if starts("CrOS") => ("OS_TYPE_CHROME_OS", "CrOS"),
        () if starts("Linux") || text.starts_with("Linux ") => ("OS_TYPE_LINUX", "Linux"),
        () if starts("FreeBSD") => ("OS_TYPE_UNKNOWN", "FreeBSD"),
        () if starts("OpenBSD") => ("OS_TYPE_UNKNOWN", "OpenBSD"),
        () if starts("NetBSD") => ("OS_TYPE_UNKNOWN", "NetBSD"),
        () if starts("SunOS") => ("OS_TYPE_UNKNOWN", "SunOS"),
        () if starts("Tizen") => ("OS_TYPE_UNKNOWN", "Tizen"),
        () => return None,
    })
}

/// `Windows NT 10.0` in two, without the name of the processor before it.
fn name_and_version(os: &str) -> (&str, Option<&str>) {
    let os = ["Intel ", "PPC ", "CPU "].iter().find_map(|prefix| os.strip_prefix(prefix)).unwrap_or(os);
    let digit = |at: usize| os.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let Some(at) = os.match_indices([' ', '/']).map(|(at, _)| at).find(|at| digit(at + 1)) else {
        return (os.split(' ').next().filter(|_| os.starts_with("Linux")).unwrap_or(os), None);
    };
    let version = os[at + 1..].split(' ').next();
    // `CrOS x86_64 15.0`: the processor is not the name.
    let name = if os.starts_with("CrOS ") { "CrOS" } else { &os[..at] };
    (name, version)
}

/// `en`, `en-US`, `zh_Hant`.
fn locale(text: &str) -> bool {
    let (language, region) = text.split_once(['-', '_']).unwrap_or((text, "US"));
    language.len() == 2
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && (2..=4).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_alphabetic())
        // WebView's mark, which looks like a language.
        && text != "wv"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field, as `name=value` in the order of the message, annotations last.
    fn shown(text: &str) -> String {
        let agent = parse(text);
        let hidden = ["osVariantType", "browserVariantType"];
        let mut fields: Vec<String> = agent
            .fields()
            .filter(|(name, value)| !hidden.contains(name) && !value.ends_with("_TYPE_UNKNOWN"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        fields.extend(agent.annotations.iter().map(|one| format!("{}:{}", one.key, one.value)));
        fields.join(" | ")
    }

    #[test]
    fn browsers() {
        // [G] for the first; the others by the same scheme and the meaning of the fields in Google's API reference.
        let table = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=Windows | device=x64 | os=Windows NT 10.0 \
                 | osVariant=Win64 | osType=OS_TYPE_WINDOWS | browser=Chrome | browserVersion=120.0.0.0 \
                 | browserEngineVersion=537.36 | browserType=BROWSER_TYPE_CHROME | Chrome:Chrome/120.0.0.0 \
                 | SafariType:Safari/537.36 | OS_NAME:Windows NT | OS_VERSION:10.0 | misc:x64",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=Windows | device=x64 | os=Windows NT 10.0 \
                 | osVariant=Win64 | osType=OS_TYPE_WINDOWS | browser=Edge | browserVersion=120.0.2210.91 \
                 | browserEngineVersion=537.36 | browserType=BROWSER_TYPE_EDGE | Chrome:Chrome/120.0.0.0 \
                 | SafariType:Safari/537.36 | Edg:Edg/120.0.2210.91 | OS_NAME:Windows NT | OS_VERSION:10.0 | misc:x64",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Safari/605.1.15",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=Macintosh | os=Intel Mac OS X 10_15_7 \
                 | osType=OS_TYPE_MAC | browser=Safari | browserVersion=17.2 | browserEngineVersion=605.1.15 \
                 | browserType=BROWSER_TYPE_SAFARI | Version:Version/17.2 | SafariType:Safari/605.1.15 \
                 | OS_NAME:Mac OS X | OS_VERSION:10_15_7",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0 Mobile/15E148 Safari/604.1",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=iPhone | device=iPhone \
                 | os=CPU iPhone OS 17_2 like Mac OS X | osType=OS_TYPE_IOS | browser=Chrome | browserVersion=120.0 \
                 | browserEngineVersion=605.1.15 | browserType=BROWSER_TYPE_CHROME | CriOS:CriOS/120.0 \
                 | Mobile:Mobile/15E148 | SafariType:Safari/604.1 | OS_NAME:iPhone OS | OS_VERSION:17_2",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0 Mobile Safari/537.36",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=Linux | device=SM-A536B | os=Android 13 \
                 | osVariant=Build/TP1A.220624.014 | osType=OS_TYPE_ANDROID | browser=Chrome | browserVersion=119.0 \
                 | browserEngineVersion=537.36 | browserType=BROWSER_TYPE_CHROME | Version:Version/4.0 \
                 | Chrome:Chrome/119.0 | SafariType:Mobile Safari/537.36 | OS_NAME:Android | OS_VERSION:13 | misc:wv",
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
                "family=GECKO | subFamily=Gecko | platform=Linux | os=Linux x86_64 | osVariant=Ubuntu \
                 | osType=OS_TYPE_LINUX | browser=Firefox | browserVersion=121.0 | browserEngineVersion=121.0 \
                 | browserType=BROWSER_TYPE_FIREFOX | Firefox:Firefox/121.0 | OS_NAME:Linux",
            ),
            (
                "Mozilla/5.0 (Windows; U; Windows NT 5.1; de-DE; rv:1.9.0.1) Gecko/2008070208 Firefox/3.0.1",
                "family=GECKO | subFamily=Gecko | platform=Windows | security=U | locale=de-DE | os=Windows NT 5.1 \
                 | osType=OS_TYPE_WINDOWS | browser=Firefox | browserVersion=3.0.1 | browserEngineVersion=1.9.0.1 \
                 | browserType=BROWSER_TYPE_FIREFOX | Firefox:Firefox/3.0.1 | OS_NAME:Windows NT | OS_VERSION:5.1",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0 Safari/537.36",
                "family=APPLEWEBKIT | subFamily=AppleWebKit | platform=CrOS | os=CrOS x86_64 14541.0.0 \
                 | osType=OS_TYPE_CHROME_OS | browser=Chrome | browserVersion=118.0 | browserEngineVersion=537.36 \
                 | browserType=BROWSER_TYPE_CHROME | Chrome:Chrome/118.0 | SafariType:Safari/537.36 | OS_NAME:CrOS \
                 | OS_VERSION:14541.0.0",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "family=MSIE | subFamily=MSIE | platform=Windows | os=Windows NT 6.1 | osVariant=WOW64 \
                 | osType=OS_TYPE_WINDOWS | browser=MSIE | browserVersion=11.0 | browserEngineVersion=7.0 \
                 | browserType=BROWSER_TYPE_MSIE | OS_NAME:Windows NT | OS_VERSION:6.1",
            ),
            (
                "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0; .NET CLR 2.0.50727)",
                "family=MSIE | subFamily=MSIE | platform=Windows | os=Windows NT 5.1 \
                 | osType=OS_TYPE_WINDOWS | browser=MSIE | browserVersion=8.0 | browserEngineVersion=4.0 \
                 | browserType=BROWSER_TYPE_MSIE | OS_NAME:Windows NT | OS_VERSION:5.1 | misc:.NET CLR 2.0.50727",
            ),
            (
                "Opera/9.80 (Windows NT 6.1; U; en) Presto/2.10.229 Version/11.62",
                "family=OPERA | subFamily=Opera | platform=Windows | security=U | locale=en | os=Windows NT 6.1 \
                 | osType=OS_TYPE_WINDOWS | browser=Opera | browserVersion=11.62 | browserEngineVersion=9.80 \
                 | browserType=BROWSER_TYPE_OPERA | Opera:Opera/9.80 | Presto:Presto/2.10.229 | Version:Version/11.62 \
                 | OS_NAME:Windows NT | OS_VERSION:6.1",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_browser() {
        // Google's API reference: USER_DEFINED and the families of makers.
        let table = [
            ("harvester/2.1", "family=USER_DEFINED | browser=harvester | browserVersion=2.1 | harvester:harvester/2.1"),
            (
                "harvester/2.1 Python/3.11 Linux/5.10",
                "family=USER_DEFINED | platform=Linux | os=Linux/5.10 | osType=OS_TYPE_LINUX | browser=harvester \
                 | browserVersion=2.1 | harvester:harvester/2.1 | Python:Python/3.11 | Linux:Linux/5.10 | OS_NAME:Linux | OS_VERSION:5.10",
            ),
            (
                "Field Agent/7.0 (Windows NT 10.0; Win64)",
                "family=USER_DEFINED | platform=Windows | os=Windows NT 10.0 | osVariant=Win64 | osType=OS_TYPE_WINDOWS \
                 | browser=Field Agent | browserVersion=7.0 | Field Agent:Field Agent/7.0 | OS_NAME:Windows NT | OS_VERSION:10.0",
            ),
            (
                "Gardener/12 CFNetwork/1485 Darwin/23.1.0",
                "family=APPLE | platform=Macintosh | os=Darwin/23.1.0 | osType=OS_TYPE_MAC | browser=Gardener \
                 | browserVersion=12 | Gardener:Gardener/12 | CFNetwork:CFNetwork/1485 | Darwin:Darwin/23.1.0 \
                 | OS_NAME:Darwin | OS_VERSION:23.1.0",
            ),
            (
                "Microsoft BITS/7.8",
                "family=MICROSOFT | browser=Microsoft BITS | browserVersion=7.8 | Microsoft BITS:Microsoft BITS/7.8",
            ),
            (
                "BlackBerry9000/5.0.0",
                "family=BLACKBERRY | device=BlackBerry9000 | deviceVersion=5.0.0 | BlackBerry9000:BlackBerry9000/5.0.0",
            ),
            (
                "Mozilla/5.0 (compatible; Crawler/2.0; +https://crawler.test/about)",
                "family=USER_DEFINED | browser=Crawler | browserVersion=2.0 | misc:Crawler/2.0 | misc:+https://crawler.test/about",
            ),
            (
                "Windows 10",
                "family=USER_DEFINED | platform=Windows | os=Windows 10 | osType=OS_TYPE_WINDOWS | OS_NAME:Windows | OS_VERSION:10",
            ),
            ("harvester", "family=USER_DEFINED | browser=harvester"),
            ("", "family=USER_DEFINED"),
            (" ( ( ", "family=USER_DEFINED | device=( | misc:("),
            ("Mozilla/5.0 (https://crawler.test/about)", "family=USER_DEFINED | misc:https://crawler.test/about"),
            ("é/1 (é; ü) [", "family=USER_DEFINED | device=é | browser=é | browserVersion=1 | é:é/1 | misc:é | misc:ü"),
            ("/ // /a a/ )]", "family=USER_DEFINED | browser=/a"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn as_a_value() {
        let bump = bumpalo::Bump::new();
        let names = crate::value::Names::default();
        let heap = Heap::new(&bump, &names, 1 << 16);
        let agent = parse("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/1 (KHTML, like Gecko) Chrome/2 Safari/3");
        let Value::Map(map) = to_value(&agent, &heap).expect("room") else { panic!("no map") };
        let keys: Vec<&str> = map.sorted(&heap).iter().map(|(key, ..)| *key).collect();
        // [G]: unknown variants are shown, fields that are not there are not.
        let expected = "annotation browser browserEngineVersion browserType browserVariantType browserVersion family os osType \
                        osVariantType platform subFamily";
        assert_eq!(keys.join(" "), expected);
        let annotation = map.get(heap.name("annotation").expect("room")).and_then(|value| value.as_list());
        assert_eq!(annotation.map(|list| list.len()), Some(4));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(Mozilla/5.0|Windows|Build/|MSIE |Mobile|Safari|[()\\[\\];/ .,é0-9a-zA-Z+-]){0,24}") {
            let agent = parse(&text);
            proptest::prop_assert!(agent.annotations.len() <= PIECES_MAX + 2);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = "(((((a/1 ".repeat(10_000) + &"b/2 ".repeat(10_000);
        assert!(parse(&text).annotations.len() <= PIECES_MAX + 2);
        assert!(parse(&"b/2 ".repeat(10_000)).annotations.len() <= PIECES_MAX);
        assert!(parse(&format!("x ({})", "y;".repeat(10_000))).annotations.len() <= PIECES_MAX);
    }
}
