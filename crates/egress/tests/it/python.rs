//! Python's own library through the proxy, as functions use it, as strict with certificates as Python 3.13 is; and
//! `requests` where it is installed. Without a Python this says so and checks nothing.

use std::process::{Command, Stdio};

use crate::world::{Ca, HOST, Host, Reply, World};

/// Prints what it got, a line each, and where it failed the name of the exception.
const CLIENT: &str = r#"
import os, ssl, sys, urllib.error, urllib.request
host = sys.argv[1]
context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
context.verify_flags |= ssl.VERIFY_X509_STRICT
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

def show(name, call):
    try:
        print(name, call())
    except urllib.error.HTTPError as error:
        print(name, error.code, error.read().decode().strip())
    except Exception as error:
        print(name, type(error).__name__, error)

def get(url, data=None):
    request = urllib.request.Request(url, data=data)
    with opener.open(request, timeout=20) as answer:
        return f"{answer.status} {answer.read().decode()}"

show("https", lambda: get(f"https://{host}/todos?k=s3cret", b'{"title": "x"}'))
show("http", lambda: get("http://plain.example/a"))
show("dead", lambda: get("https://dead.example/"))
show("error", lambda: get("https://{}/500".format(host)))
try:
    import requests
except ImportError:
    print("requests is not installed")
else:
    show("post", lambda: requests.post(f"https://{host}/todos", json={"title": "x"}, timeout=20).text)
    session = requests.Session()
    show("session", lambda: [session.get(f"https://{host}/{n}", timeout=20).status_code for n in range(3)])
    show("down", lambda: requests.get("https://dead.example/", timeout=20))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_libraries() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| match received.line().split(' ').nth(1) {
        Some("/500") => Reply::ok(500, "theirs"),
        _ => Reply::ok(200, &String::from_utf8_lossy(&received.body)),
    })
    .await;
    let plain = Host::plain(|_| Reply::ok(200, "plain")).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hosts = [(HOST, host.address), ("plain.example", plain.address), ("dead.example", dead)];
    let world = World::with(ca, hosts, |_| {}).await;
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), world.egress.ca_pem()).unwrap();

    let mut count = 0;
    for python in ["python3", "python3.9", "python3.12", "python3.13", "python3.14"] {
        let lane = world.egress.lane();
        let run = |arguments: &[&str]| {
            Command::new(python)
                .args(arguments)
                .env("HTTPS_PROXY", lane.proxy_url())
                .env("HTTP_PROXY", lane.proxy_url())
                .env("REQUESTS_CA_BUNDLE", bundle.path())
                .env_remove("NO_PROXY")
                .env_remove("no_proxy")
                .stdin(Stdio::null())
                .output()
        };
        if !run(&["-c", "import ssl"]).is_ok_and(|output| output.status.success()) {
            continue;
        }
        count += 1;
        let output = run(&["-c", CLIENT, HOST]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(output.status.success(), "{python}: {text} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines[..2], ["https 200 {\"title\": \"x\"}", "http 200 plain"], "{python}");
        let refused = "Tunnel connection failed: 502 cannot connect to dead.example:443: Connection refused";
        assert!(lines[2].contains(refused), "{python}: {text}");
        assert_eq!(lines[3], "error 500 theirs", "{python}");
        let mut urls = vec!["https://H/todos 200", "http://plain.example/a 200", "https://dead.example/ none"];
        urls.push("https://H/500 500");
        if lines[4] == "requests is not installed" {
            eprintln!("{python} has no requests: it is not checked with that");
        } else {
            assert_eq!(lines[4..6], ["post {\"title\": \"x\"}", "session [200, 200, 200]"], "{python}");
            assert!(lines[6].starts_with("down ProxyError"), "{python}: {text}");
            urls.extend(["https://H/todos 200", "https://H/0 200", "https://H/1 200", "https://H/2 200"]);
            urls.push("https://dead.example/ none");
        }
        let exchanges = lane.take();
        let got: Vec<String> = exchanges
            .iter()
            .map(|one| {
                let status = one.status.map_or("none".to_owned(), |status| status.to_string());
                format!("{} {status}", one.url.replace(HOST, "H"))
            })
            .collect();
        // The dead host may be tried more often than once.
        let mut got: Vec<&str> = got.iter().map(String::as_str).collect();
        got.dedup();
        assert_eq!(got, urls, "{python}");
        assert!(!format!("{exchanges:?}").contains("s3cret"));
    }
    if count == 0 {
        eprintln!("skipped: there is no python3");
    }
}
