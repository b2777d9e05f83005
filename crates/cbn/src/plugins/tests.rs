//! What the tables in the plugins' own tests are run with: a program on one text.

use bumpalo::Bump;
use serde_json::Value as Json;

use crate::run::machine::{self, Nobody};
use crate::run::{Context, Failure, Run};
use crate::value::{Heap, Value};

/// The state, as JSON, after a program ran with a text in the field `in`; that field is left out where it still holds the
/// text. Otherwise what the error says, the limit that was reached, or what is wrong with the program.
pub(super) fn run(program: &str, text: &str) -> Result<Json, String> {
    let source = format!("filter {{ {program} }}");
    let file = crate::syntax::parse::parse(&source).expect("the test's program is well-formed");
    let (code, diagnostics) = crate::compile::compile(&file);
    let code = code.ok_or_else(|| diagnostics[0].message.clone())?;
    let bump = Bump::new();
    let context = Context::new("2026-11-26T12:00:00Z".parse().expect("a time"));
    let run = Run::new(Heap::new(&bump, &code.names, 32 << 20), &context, 500_000).expect("room");
    let name = run.heap.name("in").expect("room");
    let text = run.heap.text(text).expect("room");
    run.root.set(&run.heap, name, Value::Text(text)).expect("room");
    machine::block(&run, &code, &code.body, &mut Nobody).map_err(|ended| match ended.failure {
        Failure::Error(fault) => fault.expect("an error that nobody catches has a text").text,
        Failure::Limit(limit) => limit.to_string(),
        other => format!("{other:?}"),
    })?;
    if run.root.get(name).and_then(|value| value.as_text()).is_some_and(|left| std::ptr::eq(left, text)) {
        run.root.remove(name);
    }
    Ok(machine::dump(&run))
}

/// Runs a table of texts and the states or errors that a program has to end with; tells all that differ at once.
#[track_caller]
pub(super) fn check(program: &str, table: &[(&str, &str, Result<Json, &str>)]) {
    let mut wrong = Vec::new();
    for (rule, text, expected) in table {
        let got = run(program, text);
        let expected = expected.clone().map_err(str::to_owned);
        if got != expected {
            wrong.push(format!("{rule}\n  {text:.200}\n  got  {got:?}\n  want {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{program}\n{}", wrong.join("\n"));
}
