//! The functions of this server: what ties the processes of `functions` to the documents that say what runs, to the log
//! that keeps what they print, and to the connectors that call them.
//!
//! Where it sits: `components` invokes and installs through it, `deliver` is handed it as [`deliver::Invoke`]. Absent:
//! processes, sandbox and verdicts, which are `functions`' own.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use deliver::{FunctionAnswer, FunctionCall};
use dialects::{Cause, Refusal};
use event::InstanceId;
use functions::{Call, Functions, InvokeError, State};

use crate::api::blocking;
use crate::config::Config;
use crate::control::Control;
use crate::control::oci::{Archive, Installed};
use crate::own_logs::OwnLogs;
use crate::pipeline::Clock;

/// The functions, where they are switched on.
#[derive(Clone)]
pub struct Hosted {
    running: Option<Arc<Functions>>,
    egress: Option<Arc<egress::Egress>>,
    /// Whose each function is: a connector calls those of its own instance.
    owners: Arc<ArcSwap<HashMap<String, InstanceId>>>,
    /// Of two changes the later one's documents are the ones that stay.
    applying: Arc<tokio::sync::Mutex<()>>,
}

impl Hosted {
    /// Starts what functions need; processes start with their first calls.
    pub async fn start(config: &Config, clock: &Clock, logs: &OwnLogs) -> anyhow::Result<Hosted> {
        let settings = &config.functions;
        if !settings.enabled {
            return Ok(Hosted { running: None, egress: None, owners: Arc::default(), applying: Arc::default() });
        }
        let egress = if settings.egress.enabled {
            // Nobody but the processes of this run trusts it, so it need not outlive them.
            let authority = authority::Authority::make(authority::Names::Any, clock())?;
            let reach = if settings.egress.allow_private { egress::Reach::Inside } else { egress::Reach::Public };
            let proxy = egress::Settings {
                hosts: settings.egress.hosts.clone(),
                reach,
                upstream_ca: settings.egress.ca_file.clone(),
                timeout: settings.egress.timeout,
                body_bytes_max: EGRESS_BODY_BYTES_MAX,
                now: Arc::clone(clock),
            };
            let started = egress::Egress::start(proxy, authority).await;
            Some(Arc::new(started.context("cannot start the proxy of functions (functions.egress)")?))
        } else {
            None
        };
        let dir = std::path::absolute(config.data.join("functions"))?;
        let made = functions::Settings {
            python: settings.python.clone(),
            egress: egress.clone(),
            init_timeout: settings.init_timeout,
            calls_kept: settings.calls_kept,
            processes_max: settings.processes_max,
            install_env: std::env::vars().filter(|(name, _)| is_for_installing(name)).collect(),
            ..functions::Settings::new(dir, Arc::clone(clock))
        };
        let logs = logs.clone();
        let opened = tokio::task::spawn_blocking(move || Functions::open(made, Arc::new(logs))).await?;
        let running = opened.context("functions cannot run here (functions.enabled)")?;
        Ok(Hosted { running: Some(Arc::new(running)), egress, owners: Arc::default(), applying: Arc::default() })
    }

    /// Whether functions run here.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// The functions, where they run.
    pub fn running(&self) -> Option<&Arc<Functions>> {
        self.running.as_ref()
    }

    /// Makes what runs be what the documents say now.
    pub async fn apply(&self, control: &Arc<Control>) -> Result<(), Refusal> {
        let Some(running) = &self.running else { return Ok(()) };
        let _one_at_a_time = self.applying.lock().await;
        let control = Arc::clone(control);
        let specs = blocking(move || control.function_specs()).await??;
        let owners = specs.iter().map(|(instance, spec)| (spec.id.clone(), *instance)).collect();
        self.owners.store(Arc::new(owners));
        running.apply(specs.into_iter().map(|(_, spec)| spec).collect()).await;
        Ok(())
    }

    /// The instance that a function belongs to, while functions run here.
    pub fn owner_of(&self, function: &str) -> Option<InstanceId> {
        self.owners.load().get(function).copied()
    }

    /// Ends a function that was deleted, and removes its code and what is kept of its calls.
    pub async fn remove(&self, function: &str) {
        if let Some(running) = &self.running {
            running.remove(function).await;
        }
    }

    /// What is to be seen of the functions at the start: their Python and how well they are shut in.
    pub fn greeting(&self) -> Option<String> {
        let running = self.running.as_ref()?;
        let sandbox = match running.sandbox() {
            functions::Sandbox::Full => "each process in a sandbox of its own".to_owned(),
            functions::Sandbox::Partial(why) => format!("SANDBOX INCOMPLETE: {why}"),
            functions::Sandbox::None(why) => format!("NO SANDBOX, functions can read what this server can: {why}"),
        };
        Some(format!("Python {}, {sandbox}", running.python_version()))
    }

    /// Installs code beside whatever else goes on, and says in the function's document what became of it.
    pub fn install(&self, control: &Arc<Control>, clock: &Clock, instance: InstanceId, archive: Archive) {
        let Some(running) = self.running.clone() else { return };
        let (hosted, control, clock) = (self.clone(), Arc::clone(control), Arc::clone(clock));
        tokio::spawn(async move {
            let Archive { function, zip } = archive;
            let tell = |step: &str| tracing::info!(function, step, "installing");
            let installed = running.install(&function, zip.into(), &tell);
            let outcome = match installed.await {
                Ok(installed) => {
                    let yaml = installed.func_yaml.unwrap_or_default();
                    Ok(Installed {
                        version: installed.version,
                        label: yaml.version,
                        handler: yaml.entry.map(|entry| format!("{} {}", entry.file, entry.name)),
                        idle_timeout_secs: yaml.idle_timeout.map(|idle| idle.as_secs()),
                    })
                }
                Err(error) => {
                    tracing::warn!(function, %error, "a function was not installed");
                    Err(error.to_string())
                }
            };
            let (documents, id) = (Arc::clone(&control), function.clone());
            let kept = blocking(move || documents.installed_oci(instance, &id, outcome, clock())).await;
            if let Err(refusal) | Ok(Err(refusal)) = kept {
                tracing::warn!(function, why = refusal.message, "what became of an installation could not be kept");
                if refusal.cause == Cause::NotFound {
                    // It was deleted meanwhile, and its code with it, but for what came since.
                    running.remove(&function).await;
                }
            }
            if let Err(refusal) = hosted.apply(&control).await {
                tracing::error!(function, why = refusal.message, "the functions cannot be changed");
            }
        });
    }

    /// Runs a function once.
    pub async fn invoke(&self, function: &str, call: Call) -> Result<functions::Answer, InvokeError> {
        match &self.running {
            Some(running) => running.invoke(function, call).await,
            None => Err(InvokeError::NotInstalled),
        }
    }

    /// A fresh id for a call, for those who must know it before the call is made.
    pub fn fresh_call_id(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string().to_ascii_uppercase()
    }

    /// Ends every process.
    pub async fn stop(&self) {
        if let Some(running) = &self.running {
            running.stop().await;
        }
        if let Some(egress) = &self.egress {
            egress.stop().await;
        }
    }
}

/// Largest body that a function may send or be answered through the proxy.
const EGRESS_BODY_BYTES_MAX: usize = 64 << 20;

/// What of the server's environment installations see: where packages come from, and through which proxy.
fn is_for_installing(name: &str) -> bool {
    const NAMED: [&str; 8] = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ];
    name.starts_with("PIP_") || NAMED.contains(&name)
}

impl deliver::Invoke for Hosted {
    fn invoke<'a>(&'a self, call: FunctionCall) -> Pin<Box<dyn Future<Output = FunctionAnswer> + Send + 'a>> {
        Box::pin(async move {
            if self.owner_of(&call.function) != Some(call.connector.instance) {
                return FunctionAnswer::Unknown { why: InvokeError::Unknown.to_string() };
            }
            let call_id = self.fresh_call_id();
            let made = Call {
                body: call.body,
                content_type: Some("application/json".to_owned()),
                call_id: Some(call_id.clone()),
                headers: Vec::new(),
                records: Some(call.records),
                by: call.connector.name,
                hops: call.hops,
            };
            match Hosted::invoke(self, &call.function, made).await {
                Ok(answer) => {
                    let suspicious = (answer.state == State::Suspicious).then(|| answer.note.unwrap_or_default());
                    FunctionAnswer::Answered {
                        call_id: answer.call_id,
                        status: answer.status,
                        body: answer.body,
                        suspicious,
                    }
                }
                Err(error @ (InvokeError::Unknown | InvokeError::NotInstalled)) => {
                    FunctionAnswer::Unknown { why: error.to_string() }
                }
                // These never began.
                Err(
                    error @ (InvokeError::Busy { .. }
                    | InvokeError::TooLarge { what: "request" }
                    | InvokeError::Stopping),
                ) => FunctionAnswer::Failed { call_id: None, status: None, why: error.to_string() },
                Err(error) => {
                    let status = if matches!(error, InvokeError::TimedOut { .. }) { 504 } else { 502 };
                    FunctionAnswer::Failed { call_id: Some(call_id), status: Some(status), why: error.to_string() }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deliver::ConnectorId;

    #[tokio::test]
    async fn a_connector_calls_the_functions_of_its_own_instance_alone() {
        let [ours, theirs] = [1, 2].map(|id| uuid::Uuid::from_u128(id).to_string().parse::<InstanceId>().unwrap());
        let owners = HashMap::from([("f".to_owned(), ours)]);
        let hosted = Hosted {
            running: None,
            egress: None,
            owners: Arc::new(ArcSwap::from_pointee(owners)),
            applying: Arc::default(),
        };
        for (instance, function, expected) in [
            (theirs, "f", InvokeError::Unknown),
            (ours, "g", InvokeError::Unknown),
            // It came as far as where its code would be run.
            (ours, "f", InvokeError::NotInstalled),
        ] {
            let call = FunctionCall {
                function: function.to_owned(),
                connector: ConnectorId { instance, name: "connector".to_owned() },
                body: b"[]".as_slice().into(),
                key: "k".to_owned(),
                records: 1,
                hops: 0,
            };
            let answer = deliver::Invoke::invoke(&hosted, call).await;
            let FunctionAnswer::Unknown { why } = answer else { panic!("{answer:?}") };
            assert_eq!(why, expected.to_string(), "{instance} {function}");
        }
    }
}
