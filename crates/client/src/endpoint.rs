//! Where an instance is: Google's regional hosts, or one address of one's own; and the API's versions.

use std::fmt;

use crate::Error;

/// Google's regions for SecOps: the twelve of seed 001 (under the Chronicle API's names), and those that its
/// documentation has added since. Any other region of the same form is taken too, so that a new one needs no new client.
///
/// The older Ingestion API says `europe` where this one says `eu`; both are taken, each as its own host.
pub const REGIONS: [&str; 19] = [
    "africa-south1",           // Johannesburg
    "asia-northeast1",         // Tokyo
    "asia-south1",             // Mumbai
    "asia-southeast1",         // Singapore
    "asia-southeast2",         // Jakarta
    "australia-southeast1",    // Sydney
    "eu",                      // Europe multi-region
    "europe-central2",         // Warsaw
    "europe-west12",           // Turin
    "europe-west2",            // London
    "europe-west3",            // Frankfurt
    "europe-west6",            // Zurich
    "europe-west9",            // Paris
    "me-central1",             // Doha
    "me-central2",             // Dammam
    "me-west1",                // Tel Aviv
    "northamerica-northeast2", // Canada
    "southamerica-east1",      // São Paulo
    "us",                      // United States multi-region
];

/// A region: one label of a host name and a location in resource names, nothing that could lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region(String);

impl Region {
    pub(crate) fn new(name: &str) -> Result<Region, Error> {
        let is_label = !name.is_empty()
            && name.len() <= 50
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if is_label {
            Ok(Region(name.to_owned()))
        } else {
            // The region becomes part of the host that is sent the token, so nothing else may pass.
            let why =
                format!("{name:?} is not a region, such as us, eu or europe-west6 (see penstock_client::REGIONS)");
            Err(Error::invalid("region", why))
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Google's host for it.
    pub(crate) fn base_url(&self) -> String {
        format!("https://{}-chronicle.googleapis.com", self.0)
    }
}

/// A version of the Chronicle API. What the calls of this library say is the same in all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApiVersion {
    /// `v1alpha`, which has all calls, and which Google's own SDK speaks unless told otherwise.
    #[default]
    V1Alpha,
    /// `v1beta`.
    V1Beta,
    /// `v1`.
    V1,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ApiVersion::V1Alpha => "v1alpha",
            ApiVersion::V1Beta => "v1beta",
            ApiVersion::V1 => "v1",
        })
    }
}

impl std::str::FromStr for ApiVersion {
    type Err = Error;
    fn from_str(text: &str) -> Result<ApiVersion, Error> {
        let all = [ApiVersion::V1Alpha, ApiVersion::V1Beta, ApiVersion::V1];
        let found = all.into_iter().find(|version| version.to_string() == text);
        found.ok_or_else(|| Error::invalid("api version", format!("{text:?} is none of v1alpha, v1beta, v1")))
    }
}

/// An address of one's own, without a slash at its end.
pub(crate) fn base_url(text: &str) -> Result<String, Error> {
    let url = reqwest::Url::parse(text).map_err(|error| Error::invalid("base url", format!("{text:?}: {error}")))?;
    let refuse = |why: &str| Err(Error::invalid("base url", format!("{text:?} {why}, unlike http://127.0.0.1:8480")));
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("begins with neither http:// nor https://");
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return refuse("has more than a host, a port and a path");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_names_googles_host_and_nothing_else() {
        // Seed 001, § Regional Endpoints: the multi-regions have names of their own here.
        let seed = [
            "northamerica-northeast2",
            "me-central2",
            "eu",
            "europe-west3",
            "europe-west2",
            "asia-south1",
            "asia-southeast1",
            "australia-southeast1",
            "me-west1",
            "asia-northeast1",
            "us",
            "europe-west6",
        ];
        assert_eq!(seed.into_iter().find(|region| !REGIONS.contains(region)), None);
        for name in REGIONS.into_iter().chain(["europe", "mars-north1"]) {
            let url = Region::new(name).unwrap().base_url();
            assert_eq!(url, format!("https://{name}-chronicle.googleapis.com"));
        }
        let not_regions =
            ["", "US", "us/", "evil.example", "us.evil.example/", "localhost:8443/x", "-us", "us-", "u s", "ü", "us\n"];
        for name in not_regions {
            let error = Region::new(name).unwrap_err().to_string();
            assert!(error.contains("region"), "{name:?}: {error}");
        }
    }

    #[test]
    fn an_address_of_ones_own_is_checked_once() {
        let good = [
            ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
            ("http://127.0.0.1:8480/", "http://127.0.0.1:8480"),
            ("https://logs.example/penstock/", "https://logs.example/penstock"),
        ];
        for (text, url) in good {
            assert_eq!(base_url(text).unwrap(), url);
        }
        for text in ["127.0.0.1:8480", "ftp://x", "", "http://", "https://u:p@x", "https://x?key=1", "https://x#a"] {
            assert!(base_url(text).is_err(), "{text}");
        }
        assert_eq!("v1beta".parse::<ApiVersion>().unwrap(), ApiVersion::V1Beta);
        assert!("v2".parse::<ApiVersion>().is_err());
    }
}
