//! What the tests of this crate share: two tenants with every kind of credential, and one call through router,
//! authentication and accept, as `receive` makes it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use event::{Batch, BatchId, InstanceId, Time};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::{KeyFile, Role};
use crate::log_types::{LogType, LogTypes};
use crate::snapshot::{Account, ApiKey, Instance, Limits, OnInvalid, Secret, SecretHash, Snapshot};
use crate::{Caller, Head, Intake, Lookup, Reply, Request, Router, aip193};

/// The instance of the seed's requests.
pub(crate) const OURS: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
/// Another tenant.
pub(crate) const THEIRS: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const OPERATOR: &str = "operator-token-of-the-tests";

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) router: Router,
    pub(crate) now: Time,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Committed { caller: Caller, batch: Batch, key: Option<[u8; 16]> },
    Replied { status: u16, headers: HashMap<String, String>, body: serde_json::Value },
}

impl Outcome {
    #[track_caller]
    pub(crate) fn committed(self) -> (Caller, Batch, [u8; 16]) {
        match self {
            Outcome::Committed { caller, batch, key } => (caller, batch, key.expect("this dialect always gives a key")),
            Outcome::Replied { status, body, .. } => panic!("not committed, but {status}: {body}"),
        }
    }

    #[track_caller]
    pub(crate) fn replied(self) -> (u16, serde_json::Value) {
        match self {
            Outcome::Replied { status, body, .. } => (status, body),
            Outcome::Committed { batch, .. } => panic!("committed: {batch:?}"),
        }
    }
}

pub(crate) fn instance(text: &str) -> InstanceId {
    text.parse().unwrap()
}

impl World {
    /// API keys `ours-ingest`, `ours-read`, `ours-admin` and the same of `theirs`; the operator's token; no accounts.
    pub(crate) fn new() -> World {
        let log_types = LogTypes::builtin();
        let custom = LogType::new("OUR_GATE", "A gate of ours").unwrap();
        let tenant = |name: &str, id, log_types| (instance(id), Instance::new(name, log_types));
        let mut api_keys = HashMap::new();
        for (name, id) in [("ours", OURS), ("theirs", THEIRS)] {
            for role in [Role::Ingest, Role::Read, Role::Admin] {
                let text = format!("{name}-{}", role.name());
                let key = ApiKey { id: text.clone(), instance: instance(id), role, disabled: false };
                api_keys.insert(SecretHash::of(&text), key);
            }
        }
        let snapshot = Snapshot {
            instances: HashMap::from([
                tenant("ours", OURS, log_types.with_custom([custom])),
                tenant("theirs", THEIRS, log_types.clone()),
            ]),
            accounts: HashMap::new(),
            api_keys,
            intakes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            operator_token: Some(SecretHash::of(OPERATOR)),
            token_secret: Secret([9; 32]),
            token_urls: vec!["http://127.0.0.1:8480/token".to_owned()],
            log_types,
            limits: Limits::default(),
            udm_mode: udm::Mode::Lenient,
            on_invalid: OnInvalid::Refuse,
            schema: udm::Schema::load(),
            oci_keys: HashMap::new(),
            oci_compartments: HashMap::new(),
            oci_logs: HashMap::new(),
            oci_region: "us-ashburn-1".to_owned(),
            oci_runtimes: Vec::new(),
        };
        let router = Router::new(crate::all()).unwrap();
        World { snapshot, router, now: Time::from_secs(1_795_290_965).unwrap() }
    }

    pub(crate) fn quarantining() -> World {
        let mut world = World::new();
        world.snapshot.on_invalid = OnInvalid::Quarantine;
        world
    }

    /// An account with the key pair of this seed.
    pub(crate) fn add_account(&mut self, email: &str, id: &str, role: Role, key_id: &str, pair: &KeyPair) -> KeyFile {
        let account = self.snapshot.accounts.entry(email.to_owned()).or_insert_with(|| Account {
            instance: instance(id),
            role,
            disabled: false,
            keys: HashMap::new(),
        });
        account.keys.insert(key_id.to_owned(), pair.public_der.clone());
        KeyFile::new("test", key_id, &pair.private_pem, email, "http://127.0.0.1:8480/token", instance(id))
    }

    /// One request as `receive` puts it to the dialects. `target` may have a query.
    pub(crate) fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
        match self.intake(method, target, headers, body) {
            Ok(Intake::Commit { mut batches, key, .. }) => {
                assert_eq!(batches.len(), 1);
                let (caller, batch) = batches.remove(0);
                Outcome::Committed { caller, batch, key }
            }
            Ok(Intake::Answer(reply) | Intake::Filtered { reply, .. }) | Err(reply) => replied(&reply),
            Ok(Intake::Ask(ask)) => panic!("a component is asked: {ask:?}"),
            Ok(Intake::Refuse(refusal)) => panic!("not in the dialect's form: {refusal:?}"),
        }
    }

    /// What a request means; a refusal in its dialect's form.
    pub(crate) fn intake(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Intake, Reply> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let head = Head::new(method.parse().unwrap(), path, query, map, [127, 0, 0, 1].into()).unwrap();
        let found = match self.router.lookup(&head) {
            Lookup::Found(found) => found,
            Lookup::WrongMethod { dialect, allow } => {
                return Err(dialect.refuse(&crate::Refusal::wrong_method(&head.method, &head.path, allow)));
            }
            Lookup::Unknown => return Err(aip193::refuse(&crate::Refusal::not_found(&head.method, &head.path))),
        };
        let caller = match found.dialect.authenticate(&found, &head, &self.snapshot, self.now) {
            Ok(caller) => caller,
            Err(refusal) => return Err(found.dialect.refuse(&refusal)),
        };
        let request = Request { head, body: Bytes::copy_from_slice(body) };
        let mut made = 0;
        let mut next_id = || {
            made += 1;
            BatchId::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | made << 32).unwrap()
        };
        match found.dialect.accept(&found, &request, caller, &self.snapshot, self.now, &mut next_id) {
            Intake::Refuse(refusal) => Err(found.dialect.refuse(&refusal)),
            intake => Ok(intake),
        }
    }

    /// A body to `/v2/<what>:batchCreate` with our ingest key.
    pub(crate) fn send(&self, what: &str, body: &[u8]) -> Outcome {
        self.call("POST", &format!("/v2/{what}:batchCreate?key=ours-ingest"), &[], body)
    }

    pub(crate) fn send_logs(&self, body: &str) -> Outcome {
        self.send("unstructuredlogentries", body.as_bytes())
    }
}

fn replied(reply: &crate::Reply) -> Outcome {
    assert!(reply.status.is_success() || reply.body.len() < event::limits::ERROR_BODY_BYTES_MAX);
    let body = serde_json::from_slice(&reply.body).expect("every body of ours is JSON");
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let headers = reply.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Outcome::Replied { status: reply.status.as_u16(), headers, body }
}

/// An event as a store gives it, the `number`-th of its batch.
pub(crate) fn found(number: u32, data: &str) -> crate::FoundRecord {
    let batch = BatchId::from_u128(0x0192_0000_0000_7000_8000_0001_0000_0000).unwrap();
    crate::FoundRecord {
        ordinal: 0,
        id: batch.record(number),
        kind: event::Kind::Udm,
        event_time: Time::from_secs(1_700_000_000).unwrap(),
        received_at: Time::from_secs(1_700_000_005).unwrap(),
        log_type: "UDM".to_owned(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// An RSA key pair for tests only.
pub(crate) struct KeyPair {
    pub(crate) private_pem: String,
    pub(crate) public_der: Vec<u8>,
}

impl KeyPair {
    /// Always the same pair for the same seed: made from a hash, so worthless as a key and good for a test.
    pub(crate) fn from_seed(seed: &str) -> Arc<KeyPair> {
        use rsa::pkcs1::EncodeRsaPublicKey as _;
        use rsa::pkcs8::EncodePrivateKey as _;
        let mut random =
            HashRandom(blake3::Hasher::new_derive_key("penstock test keys").update(seed.as_bytes()).finalize_xof());
        let private = rsa::RsaPrivateKey::new(&mut random, 2048).unwrap();
        Arc::new(KeyPair {
            private_pem: private.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap().to_string(),
            public_der: private.to_public_key().to_pkcs1_der().unwrap().as_bytes().to_vec(),
        })
    }
}

struct HashRandom(blake3::OutputReader);

impl rsa::rand_core::RngCore for HashRandom {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for HashRandom {}
