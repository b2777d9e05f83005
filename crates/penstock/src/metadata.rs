//! The metadata listener's answers: everything there is [`MetadataServer`]'s, nothing is a dialect's or our own API's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use dialects::metadata_server::MetadataServer;
use http::Response;
use receive::{AnswerBody, Own, OwnRequest};

use crate::control::Control;
use crate::pipeline::Clock;

/// What the metadata listener answers from.
pub struct Metadata {
    server: MetadataServer,
    control: Arc<Control>,
    clock: Clock,
}

impl Metadata {
    /// For an account, which must exist.
    pub fn new(account: &str, control: &Arc<Control>, clock: &Clock) -> anyhow::Result<Metadata> {
        let missing =
            || format!("listen.metadata.account is {account:?}; `penstock account list` shows the accounts there are");
        let instance = control.account_instance(account).with_context(missing)?;
        let shown = control.get_instance(instance).with_context(missing)?;
        if control.snapshot().load().accounts.get(account).is_none_or(|account| account.disabled) {
            anyhow::bail!("listen.metadata.account is {account:?}, which is disabled");
        }
        let project = shown["project"].as_str().unwrap_or_default();
        let server = MetadataServer::new(account, project, instance);
        Ok(Metadata { server, control: Arc::clone(control), clock: Arc::clone(clock) })
    }
}

impl Own for Metadata {
    fn claims(&self, _: &str) -> bool {
        true
    }

    fn answer(&self, request: OwnRequest) -> Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send + '_>> {
        let reply = self.server.answer(&request.head(), &self.control.snapshot().load(), (self.clock)());
        let mut response = Response::new(AnswerBody::whole(reply.body));
        *response.status_mut() = reply.status;
        response.headers_mut().extend(reply.headers);
        Box::pin(async move { response })
    }
}
