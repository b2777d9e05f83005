//! What comes back, by what a handler does.

use functions::{Call, InvokeError, State};

use crate::world::{World, call};

const MANY: &str = r#"
import json, os, sys, logging
from fdk import response

def handler(ctx, data=None):
    text = data.getvalue().decode()
    match text:
        case 'none': return None
        case 'dict': return {'a': 1, 'b': None}
        case 'raise': raise ValueError('no such thing')
        case 'timeout': raise TimeoutError('took too long')
        case 'exit': sys.exit(3)
        case 'abort': os.abort()
        case 'response': return response.Response(ctx, response_data='hi', status_code=404, headers={'x-foo': '1'})
        case 'large': return 'x' * (5 << 20)
        case 'too large': return 'x' * (7 << 20)
        case 'id': return ctx.CallID()
        case 'size': return str(len(data.getvalue()))
        case 'headers': return json.dumps(dict(ctx.Headers()))
        case 'deadline': return ctx.Deadline()
        case 'env': return json.dumps(dict(os.environ))
        case 'count':
            global n
            n = globals().get('n', 0) + 1
            return str(n)
    return str(len(text))
"#;

#[tokio::test]
async fn answers_by_what_the_handler_does() {
    let Some(world) = World::open().await else { return };
    world.deploy("many", MANY, |_| {}).await;
    // What goes in; status, state, body.
    let cases = [
        ("none", 200, State::Ok, ""),
        ("dict", 200, State::Ok, "{'a': 1, 'b': None}"),
        ("raise", 502, State::Failed, "no such thing"),
        ("timeout", 504, State::Failed, "took too long"),
        ("response", 200, State::Ok, "hi"),
    ];
    for (body, status, state, expected) in cases {
        let answer = world.call("many", body).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!((answer.status, answer.state, &*text), (status, state, expected), "{body}");
        let report = world.report("many");
        assert_eq!((report.call_id, report.status, report.state), (answer.call_id, Some(status), state));
    }
    // All of them in one process: an exception ends none.
    assert_eq!(world.text("many", "count").await, "1");
    assert_eq!(world.text("many", "count").await, "2");
    let note = world.functions.calls("many", 10).unwrap().into_iter().find_map(|report| report.note);
    assert_eq!(note.as_deref(), Some("the handler raised a timeout: took too long"));
}

#[tokio::test]
async fn a_gateways_headers_go_through() {
    let Some(world) = World::open().await else { return };
    world.deploy("many", MANY, |_| {}).await;
    let headers = [
        ("Fn-Intent", "httprequest"),
        ("Fn-Http-Method", "GET"),
        ("Fn-Http-Request-Url", "/x?y=1"),
        ("Fn-Http-H-X-Bar", "2"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let answer = world.functions.invoke("many", Call { headers, ..call("response") }).await.unwrap();
    let find = |name: &str| answer.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    assert_eq!((answer.status, find("fn-http-status"), find("fn-http-h-x-foo")), (200, Some("404"), Some("1")));
    assert!(find("fn-fdk-version").unwrap().starts_with("fdk-python/"));
}

#[tokio::test]
async fn a_process_that_exits_fails_its_call_alone() {
    let Some(world) = World::open().await else { return };
    world.deploy("many", MANY, |_| {}).await;
    for (body, why) in [("exit", "exited with status 3"), ("abort", "was ended by signal 6")] {
        assert_eq!(world.text("many", "count").await, "1");
        let error = world.call("many", body).await.unwrap_err();
        assert_eq!(error, InvokeError::Killed { why: format!("its process {why} before it answered") });
        let report = world.report("many");
        assert_eq!((report.state, report.status), (State::Failed, None));
        // asyncio says of the exit that nobody waited for it.
        assert!(report.note.unwrap().starts_with(&error.to_string()));
        assert!(world.said("many").last().unwrap().contains(&format!("with error code 502 - its process {why}")));
    }
    assert_eq!(world.text("many", "count").await, "1");
}

#[tokio::test]
async fn bodies_up_to_the_limit_go_both_ways() {
    let Some(world) = World::open().await else { return };
    world.deploy("many", MANY, |_| {}).await;
    assert_eq!(world.text("many", vec![b'x'; functions::BODY_BYTES_MAX]).await, functions::BODY_BYTES_MAX.to_string());
    assert_eq!(world.text("many", "large").await.len(), 5 << 20);
    let over = world.call("many", vec![b'x'; functions::BODY_BYTES_MAX + 1]).await.unwrap_err();
    assert_eq!(over, InvokeError::TooLarge { what: "request" });
    assert_eq!(world.call("many", "too large").await.unwrap_err(), InvokeError::TooLarge { what: "answer" });
    assert_eq!(world.report("many").state, State::Failed);
    assert_eq!(world.text("many", "count").await, "1");
}

#[tokio::test]
async fn the_handler_sees_its_call() {
    let Some(world) = World::open().await else { return };
    world.deploy("many", MANY, |_| {}).await;
    let given = Call { call_id: Some("C-1".to_owned()), ..call("id") };
    assert_eq!(world.functions.invoke("many", given).await.unwrap().body, "C-1");
    let made = world.call("many", "id").await.unwrap();
    assert_eq!(made.body, made.call_id);
    let deadline: event::Time = world.text("many", "deadline").await.parse().unwrap();
    assert_eq!(deadline.nanos_since(world.report("many").began), 30_000_000_000);
    let headers: serde_json::Value = serde_json::from_str(&world.text("many", "headers").await).unwrap();
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn the_environment_is_the_functions_own() {
    let Some(world) = World::open().await else { return };
    let config = [("API_KEY", "k"), ("FN_FN_ID", "another"), ("FN_LISTENER", "unix:/x"), ("LANG", "C")];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.deploy("many", MANY, |spec| spec.config = config.into()).await;
    let env: serde_json::Value = serde_json::from_str(&world.text("many", "env").await).unwrap();
    let expected = [
        ("API_KEY", "k"),
        ("FN_FN_ID", "many"),
        ("FN_FN_NAME", "many-name"),
        ("FN_APP_ID", "app-id"),
        ("FN_APP_NAME", "app"),
        ("FN_MEMORY", "256"),
        ("FN_TYPE", "sync"),
        ("FN_FORMAT", "http-stream"),
        ("LANG", "C"),
    ];
    for (name, value) in expected {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(env["FN_LISTENER"].as_str().unwrap().ends_with("/s/lsnr.sock"), "{env}");
    // Nothing of the server's.
    assert!(env.get("CARGO_MANIFEST_DIR").is_none() && env["HOME"] != std::env::var("HOME").unwrap());
}

#[tokio::test]
async fn functions_that_are_not_there() {
    let Some(world) = World::open().await else { return };
    assert_eq!(world.call("nobody", "x").await.unwrap_err(), InvokeError::Unknown);
    world.deploy("many", MANY, |spec| spec.version = None).await;
    assert_eq!(world.call("many", "x").await.unwrap_err(), InvokeError::NotInstalled);
    world.deploy("many", MANY, |spec| spec.version = Some("v2".to_owned())).await;
    let error = world.call("many", "x").await.unwrap_err();
    assert_eq!(error, InvokeError::Init { why: "its version \"v2\" is not installed".to_owned() });
    world.deploy("many", MANY, |_| {}).await;
    assert_eq!(world.text("many", "count").await, "1");
}

#[tokio::test]
async fn a_coroutine_is_a_handler_too() {
    let Some(world) = World::open().await else { return };
    let code = "import asyncio\nasync def main(ctx, data=None):\n    await asyncio.sleep(0)\n    return 'done'\n";
    world.deploy("async", code, |spec| spec.handler.name = "main".to_owned()).await;
    assert_eq!(world.text("async", "").await, "done");
}
