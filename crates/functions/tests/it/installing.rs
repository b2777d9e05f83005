//! From a zip to a version that answers.

use std::sync::{Arc, Mutex};

use functions::{Entry, Functions, InstallError, Spec};

use crate::world::{Sink, World, call, settings, zip};

const YAML: &str = "schema_version: 20180708\nname: hello\nversion: 0.0.1\nruntime: python\n\
                    entrypoint: /python/bin/fdk /function/func.py handler\nmemory: 256\n";

#[tokio::test]
async fn an_archive_becomes_a_function() {
    let Some(world) = World::open().await else { return };
    let files = [
        ("func.py", "import words, iso8601\ndef handler(ctx, data=None): return words.HELLO\n"),
        ("words.py", "HELLO = 'hello'\n"),
        ("func.yaml", YAML),
        ("requirements.txt", "fdk>=0.1.61\n"),
    ];
    let told = Mutex::new(Vec::new());
    let progress = |what: &str| told.lock().unwrap().push(what.to_owned());
    let installed = world.functions.install("hello", zip(&files), &progress).await.unwrap();
    assert_eq!(installed.func_yaml.unwrap().entry, Some(Entry::default()));
    // Without what only fdk's tests and builds use.
    let names: Vec<&str> = installed.packages.iter().filter_map(|package| package.split(' ').next()).collect();
    assert_eq!(names, ["fdk", "httptools", "iso8601"]);
    assert!(told.lock().unwrap().contains(&"installing 3 packages".to_owned()), "{told:?}");

    let mut spec = Spec::new("hello", "hello");
    spec.version = Some(installed.version.clone());
    world.functions.apply(vec![spec]).await;
    assert_eq!(world.text("hello", "").await, "hello");
    let version = world.dir.path().join("functions/code/hello").join(&installed.version);
    assert!(version.join("code/__pycache__").is_dir(), "compiled once");
    let mut left: Vec<_> = std::fs::read_dir(&version).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["code", "packages"]);
}

#[tokio::test]
async fn what_cannot_be_installed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Functions::open(settings(dir.path()), Arc::new(Sink::default())).unwrap();
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("readme", "x")], "the archive has no func.py"),
        (&[("func.py", ""), ("func.yaml", "runtime: java\n")], "only Python is"),
        (&[("func.py", ""), ("func.yaml", "entrypoint: /python/bin/fdk /function/main.py handler\n")], "no main.py"),
        (&[("../func.py", "")], "leads out of the archive"),
        (&[("func.py", ""), ("requirements.txt", "./no-such-folder\n")], "pip could not resolve the requirements"),
    ];
    for (files, part) in cases {
        let error = functions.install("f", zip(files), &|_| {}).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(functions.install("../f", zip(&[("func.py", "")]), &|_| {}).await, Err(InstallError::Id(_))));
    let left = std::fs::read_dir(dir.path().join("code/f")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_an_installation_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Arc::new(Functions::open(settings(dir.path()), Arc::new(Sink::default())).unwrap());
    let without_code = || zip(&[("readme", "x")]);
    let (go, held) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let hanging = tokio::spawn({
        let functions = functions.clone();
        let (held, begun) = (Mutex::new(held), Mutex::new(Some(begun)));
        async move {
            let hold = |_: &str| {
                begun.lock().unwrap().take().map(|begun| begun.send(()));
                held.lock().unwrap().recv().unwrap_err();
            };
            functions.install("slow", without_code(), &hold).await
        }
    });
    begins.await.unwrap();
    let error = functions.install("other", without_code(), &|_| {}).await.unwrap_err();
    assert!(matches!(error, InstallError::NoHandler(_)), "{error}");
    functions.remove("other").await;
    functions.remove("slow").await;
    drop(go);
    assert!(matches!(hanging.await.unwrap(), Err(InstallError::NoHandler(_))));
}

#[tokio::test]
async fn what_belongs_to_no_function_is_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Functions::open(settings(dir.path()), Arc::new(Sink::default())).unwrap();
    let folders = ["code/kept/v1/code", "cache/kept", "code/gone/v1/code", "cache/gone", "cache/never-installed"];
    for folder in folders {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    functions.apply(vec![Spec::new("kept", "kept")]).await;
    functions.sweep().await;
    let left = folders.map(|folder| dir.path().join(folder).exists());
    assert_eq!(left, [true, true, false, false, false]);
}

#[tokio::test]
async fn a_handler_that_is_no_python_is_refused() {
    let Some(world) = World::open().await else { return };
    let error = world.functions.install("f", zip(&[("func.py", "def handler(:\n")]), &|_| {}).await.unwrap_err();
    assert!(
        matches!(&error, InstallError::Syntax { file, why } if file == "func.py" && why.contains("SyntaxError")),
        "{error}"
    );
    let _ = call("");
}
