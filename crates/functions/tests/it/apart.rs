//! What a function cannot touch.

use functions::Sandbox;

use crate::world::World;

const TRIES: &str = r#"
import os, socket, subprocess, sys, tempfile, urllib.parse

def read(path):
    with open(path) as file:
        file.read()

def write(path):
    with open(path, 'w') as file:
        file.write('x')

def connect(address):
    host, port = address.rsplit(':', 1)
    socket.create_connection((host, int(port)), timeout=5).close()

def listen(port):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', int(port)))

def ptrace(pid):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, int(pid), 0, 0) < 0:
        raise OSError(ctypes.get_errno(), 'ptrace')

def files(count):
    held = [open(os.devnull) for _ in range(int(count))]

def fill(size):
    with tempfile.TemporaryFile() as file:
        for _ in range(int(size)):
            file.write(b'x' * (1 << 20))

def handler(ctx, data=None):
    what, argument = data.getvalue().decode().split(' ', 1)
    actions = {
        'read': read, 'write': write, 'list': os.listdir, 'connect': connect, 'listen': listen, 'ptrace': ptrace,
        'kill': lambda pid: os.kill(int(pid), 0), 'run': lambda path: subprocess.run([path], check=True),
        'chmod': lambda path: os.chmod(path, 0o777), 'utime': lambda path: os.utime(path, (1, 1)),
        'chown': lambda path: os.chown(path, os.getuid(), os.getgid()),
        'setsid': lambda _: os.setsid(), 'files': files, 'fill': fill, 'mkdir': os.mkdir,
    }
    try:
        actions[what](argument)
        return 'done'
    except OSError as error:
        return type(error).__name__
"#;

async fn check(world: &World, tries: &[(String, &str)]) {
    for (what, expected) in tries {
        assert_eq!(world.text("tries", what.clone()).await, *expected, "{what}");
    }
}

#[tokio::test]
async fn files_outside_are_out_of_reach() {
    let Some(world) = World::open().await else { return };
    if let Sandbox::None(why) = world.functions.sandbox() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let data = world.dir.path();
    std::fs::write(data.join("operator.token"), "secret").unwrap();
    world.deploy("tries", TRIES, |_| {}).await;
    world.deploy("other", "SECRET = 'x'\n", |_| {}).await;
    let at = |what: &str, path: &str| format!("{what} {}", data.join(path).display());
    let code = "functions/code";
    let mut tries = vec![
        (at("read", "operator.token"), "PermissionError"),
        (at("list", ""), "PermissionError"),
        (at("list", "functions/run"), "PermissionError"),
        (at("read", "functions/calls.db"), "PermissionError"),
        (at("read", &format!("{code}/other/v1/code/func.py")), "PermissionError"),
        (at("list", &format!("{code}/other")), "PermissionError"),
        // Its own code is read only.
        (at("read", &format!("{code}/tries/v1/code/func.py")), "done"),
        (at("write", &format!("{code}/tries/v1/code/func.py")), "PermissionError"),
        (at("write", &format!("{code}/tries/v1/packages/fdk/x.py")), "PermissionError"),
    ];
    let others = [
        ("read /etc/passwd", "PermissionError"),
        ("read /etc/hosts", "done"),
        ("read /proc/1/environ", "PermissionError"),
        ("read /proc/self/environ", "PermissionError"),
        ("list /", "PermissionError"),
        ("list /tmp", "PermissionError"),
        ("write /tmp/a-function-was-here", "PermissionError"),
        ("mkdir /dev/shm/x", "PermissionError"),
        ("run /bin/true", "PermissionError"),
        ("fill 1", "done"),
    ];
    tries.extend(others.map(|(what, expected)| (what.to_owned(), expected)));
    // Answered as done where the filter of system calls can, and never done.
    tries.extend([(at("chmod", "operator.token"), "done"), (at("utime", "operator.token"), "done")]);
    tries.push((at("chown", "operator.token"), "PermissionError"));
    let before = std::fs::metadata(data.join("operator.token")).unwrap();
    check(&world, &tries).await;
    let after = std::fs::metadata(data.join("operator.token")).unwrap();
    assert_eq!((before.permissions(), before.modified().unwrap()), (after.permissions(), after.modified().unwrap()));
}

#[tokio::test]
async fn other_processes_are_out_of_reach() {
    let Some(world) = World::open().await else { return };
    world.deploy("tries", TRIES, |_| {}).await;
    let pid = std::process::id();
    let mut tries = vec![(format!("ptrace {pid}"), "PermissionError"), ("setsid x".to_owned(), "PermissionError")];
    if *world.functions.sandbox() == Sandbox::Full {
        tries.push((format!("kill {pid}"), "PermissionError"));
        tries.push(("listen 18999".to_owned(), "PermissionError"));
        tries.push(("listen 0".to_owned(), "done"));
    }
    check(&world, &tries).await;
}

#[tokio::test]
async fn what_it_takes_has_an_end() {
    let Some(world) = World::open().await else { return };
    world.deploy("tries", TRIES, |spec| spec.timeout = std::time::Duration::from_secs(60)).await;
    let tries = [("files 300", "done"), ("files 400", "OSError"), ("fill 60", "done"), ("fill 70", "OSError")];
    check(&world, &tries.map(|(what, expected)| (what.to_owned(), expected))).await;
}
