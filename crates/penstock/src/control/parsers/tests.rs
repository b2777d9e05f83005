//! Documents, turns and schedules without a server.

use std::sync::Arc;

use dialects::{KeptParser, NewParser, Slot, Validation};
use event::{InstanceId, Position, Time, limits};

use super::super::{Control, ControlError};
use super::{NewTurn, is_shipped};

const OKTA: &str = "OKTA";

struct World {
    _dir: tempfile::TempDir,
    control: Control,
    instance: InstanceId,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("keys")).unwrap();
        let settings = crate::serve::settings(&crate::config::Config::default(), udm::Schema::load());
        let control = Control::open(dir.path(), settings, None, at(0)).unwrap();
        let instance = control.only_instance().unwrap();
        World { _dir: dir, control, instance }
    }

    fn create(&self, slot: Slot, text: &str) -> KeptParser {
        let new = NewParser {
            source: format!("# {text}\nfilter {{ }}\n"),
            sample: None,
            validated_on_empty_logs: true,
            validation_skipped: false,
        };
        self.control.create_parser(self.instance, slot, OKTA, &new, "me", at(1)).unwrap()
    }

    fn turn<'t>(&self, slot: Slot, parser: Option<&'t str>, offset: u64) -> NewTurn<'t> {
        let (instance, from) = (self.instance, place(offset));
        let now = at(offset as i64);
        NewTurn { instance, slot, log_type: OKTA, parser, instead_of: None, from, by: "me", reason: None, now }
    }

    fn activate(&self, slot: Slot, parser: Option<&str>, offset: u64) {
        self.control.make_turn(self.turn(slot, parser, offset)).unwrap();
    }

    fn ship(&self, version: &str, offset: u64) {
        let parsers = [(OKTA.to_owned(), format!("# {version}\nfilter {{ }}\n"))];
        self.control.ship(&parsers, place(offset), at(offset as i64)).unwrap();
    }

    /// What reads a frame at this offset, ids of ours without their hash.
    fn reader(&self, offset: u64) -> String {
        let choice = self.control.parser_schedule().unwrap().choose(self.instance, OKTA, place(offset));
        let id = choice.id().to_string();
        if is_shipped(&id) && !id.contains('+') { self.version(&id) } else { id }
    }

    /// The first line of one of our programs.
    fn version(&self, id: &str) -> String {
        let parser = self.control.get_parser(self.instance, Slot::Parser, OKTA, id).unwrap();
        parser.new.source.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned()
    }

    fn states(&self, slot: Slot) -> Vec<(String, bool)> {
        let all = self.control.list_parsers(self.instance, slot, Some(OKTA)).unwrap();
        all.into_iter().map(|parser| (parser.id, parser.is_active)).collect()
    }

    /// Goes back as `rollback` does; gives what is in use then.
    fn roll_back(&self, offset: u64) -> Result<Option<String>, ControlError> {
        let plan = self.control.rollback(self.instance, Slot::Parser, OKTA)?;
        self.control.roll_back(self.turn(Slot::Parser, None, offset), &plan)?;
        Ok(plan.parser)
    }
}

fn at(secs: i64) -> Time {
    Time::from_secs(1_800_000_000 + secs).unwrap()
}

fn place(offset: u64) -> Position {
    Position { epoch: 7, offset }
}

#[test]
fn each_frame_is_read_by_what_was_in_use_at_its_place() {
    let world = World::new();
    world.ship("one", 0);
    let (first, second) = (world.create(Slot::Parser, "first"), world.create(Slot::Parser, "second"));
    let extra = world.create(Slot::Extension, "extra");
    world.activate(Slot::Parser, Some(&first.id), 100);
    world.activate(Slot::Parser, Some(&second.id), 200);
    // Twice is once.
    world.activate(Slot::Parser, Some(&second.id), 250);
    world.activate(Slot::Extension, Some(&extra.id), 300);
    world.activate(Slot::Parser, None, 400);
    world.activate(Slot::Extension, None, 450);
    world.ship("two", 500);
    let expected = [
        (0, "one".to_owned()),
        (100, first.id),
        (200, second.id.clone()),
        (299, second.id.clone()),
        (300, format!("{}+{}", second.id, extra.id)),
        (450, "one".to_owned()),
        (500, "two".to_owned()),
    ];
    for (offset, reader) in expected {
        assert_eq!(world.reader(offset), reader, "at {offset}");
    }
    assert_eq!(world.control.list_turns(world.instance, Some(OKTA)).unwrap().len(), 7);

    // A start with the same parsers changes nothing; without one it ends.
    world.ship("two", 600);
    assert_eq!(world.reader(600), "two");
    world.control.ship(&[], place(700), at(700)).unwrap();
    assert_eq!((world.reader(699).as_str(), world.reader(700).as_str()), ("two", "generic"));
}

#[test]
fn states_follow_turns() {
    let world = World::new();
    world.ship("one", 0);
    let first = world.create(Slot::Parser, "first");
    let ours = world.states(Slot::Parser)[0].0.clone();
    assert_eq!(world.states(Slot::Parser), [(ours.clone(), true), (first.id.clone(), false)]);
    world.activate(Slot::Parser, Some(&first.id), 100);
    assert_eq!(world.states(Slot::Parser), [(ours.clone(), false), (first.id.clone(), true)]);

    // Ours moves on, and the instance can stay with the old version.
    world.ship("two", 200);
    world.activate(Slot::Parser, Some(&ours), 300);
    let states = world.states(Slot::Parser);
    assert_eq!((states.len(), &states[0]), (3, &(ours, true)));
    assert!(!states[1].1 && !states[2].1, "{states:?}");

    let late = NewTurn { instead_of: Some(&first.id), ..world.turn(Slot::Parser, None, 350) };
    world.control.make_turn(late).unwrap();
    assert!(world.states(Slot::Parser)[0].1, "who ends one ends no other");

    let unknown = world.control.make_turn(world.turn(Slot::Parser, Some("nothing"), 400));
    assert!(matches!(unknown, Err(ControlError::NotFound(_))), "{unknown:?}");
    let extension = world.create(Slot::Extension, "extra");
    let wrong = world.control.make_turn(world.turn(Slot::Parser, Some(&extension.id), 400));
    assert!(matches!(wrong, Err(ControlError::NotFound(_))), "an extension is no parser");
}

#[test]
fn rollback_goes_back_step_by_step() {
    let world = World::new();
    world.ship("one", 0);
    assert!(world.roll_back(1).is_err());
    let [a, b, c] = ["a", "b", "c"].map(|name| world.create(Slot::Parser, name).id);
    for (parser, offset) in [(&a, 10), (&b, 20)] {
        world.activate(Slot::Parser, Some(parser), offset);
    }
    assert_eq!(world.roll_back(30).unwrap(), Some(a.clone()));
    // What came before a rollback is what was in use before it.
    world.activate(Slot::Parser, Some(&c), 40);
    assert_eq!(world.roll_back(50).unwrap(), Some(a));
    assert_eq!(world.roll_back(60).unwrap(), None);
    assert_eq!(world.reader(60), "one");
    assert!(world.roll_back(70).is_err());

    // One that was deleted is passed over.
    world.activate(Slot::Parser, Some(&b), 80);
    world.activate(Slot::Parser, Some(&c), 90);
    world.control.delete_parser(world.instance, Slot::Parser, OKTA, &b, at(95)).unwrap();
    assert_eq!(world.roll_back(100).unwrap(), None);
}

#[test]
fn a_rollback_of_another_state_than_was_looked_at_is_refused() {
    let world = World::new();
    let [a, b] = ["a", "b"].map(|name| world.create(Slot::Parser, name).id);
    world.activate(Slot::Parser, Some(&a), 10);
    let plan = world.control.rollback(world.instance, Slot::Parser, OKTA).unwrap();
    world.activate(Slot::Parser, Some(&b), 20);
    assert!(world.control.roll_back(world.turn(Slot::Parser, None, 30), &plan).is_err());
    assert_eq!(world.reader(30), b);
}

#[test]
fn what_does_harm_is_set_aside_until_somebody_wants_it_again() {
    let world = World::new();
    world.ship("one", 0);
    let (own, extra) = (world.create(Slot::Parser, "own").id, world.create(Slot::Extension, "extra").id);
    world.activate(Slot::Parser, Some(&own), 10);
    world.activate(Slot::Extension, Some(&extra), 20);
    let set_aside = |choice: &str, offset| {
        let (control, instance) = (&world.control, world.instance);
        control.set_aside(instance, OKTA, choice, place(offset), "too slow", at(30)).unwrap().is_some()
    };
    assert!(set_aside(&format!("{own}+{extra}"), 30));
    assert_eq!(world.reader(30), own);
    assert!(!set_aside(&format!("{own}+{extra}"), 40), "it is no longer in use");
    assert!(set_aside(&own, 40));
    assert_eq!((world.reader(39), world.reader(40).as_str()), (own.clone(), "one"));
    let shown = || world.control.get_parser(world.instance, Slot::Parser, OKTA, &own).unwrap();
    assert_eq!((shown().set_aside.as_deref(), shown().is_active), (Some("too slow"), false));
    assert!(world.roll_back(45).is_err(), "a rollback does not bring it back");
    world.activate(Slot::Parser, Some(&own), 50);
    assert_eq!((shown().set_aside, shown().is_active), (None, true));
}

#[test]
fn deleted_programs_read_what_was_sent_before() {
    let world = World::new();
    let [a, b, unused] = ["a", "b", "unused"].map(|name| world.create(Slot::Parser, name).id);
    world.activate(Slot::Parser, Some(&a), 10);
    let delete = |id: &str| world.control.delete_parser(world.instance, Slot::Parser, OKTA, id, at(15));
    assert!(delete(&a).unwrap_err().to_string().contains("in use"));
    world.activate(Slot::Parser, Some(&b), 20);
    delete(&a).unwrap();
    delete(&unused).unwrap();
    assert!(matches!(delete(&a), Err(ControlError::NotFound(_))), "it is gone for everybody");
    assert_eq!(world.states(Slot::Parser), [(b.clone(), true)]);
    assert_eq!((world.reader(15), world.reader(20)), (a, b.clone()));

    // Until there are so many newer turns that its own is forgotten.
    for round in 0..limits::PARSER_TURNS_KEPT as u64 {
        world.activate(Slot::Parser, None, 100 + round * 10);
        world.activate(Slot::Parser, Some(&b), 105 + round * 10);
    }
    world.control.prune_turns(place(20)).unwrap();
    assert_eq!(world.reader(15), "generic", "nothing is left from before the log begins");
    assert_eq!(world.reader(20), b);
    let kept = world.control.resources.list(super::PARSER, None).unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    world.control.prune_turns(place(10_000)).unwrap();
    let turns = world.control.list_turns(world.instance, None).unwrap();
    assert_eq!(turns.len(), limits::PARSER_TURNS_KEPT);
    assert_eq!(world.reader(10_000), b);
}

#[test]
fn replaced_versions_of_ours_go_with_the_log() {
    let world = World::new();
    for version in 0..=limits::PARSER_TURNS_KEPT as u64 {
        world.ship(&format!("version {version}"), version * 10);
    }
    let count = || world.control.resources.list(super::SHIPPED_PARSER, None).unwrap().len();
    assert_eq!(count(), limits::PARSER_TURNS_KEPT + 1);
    world.control.prune_turns(place(9)).unwrap();
    assert_eq!((count(), world.reader(0).as_str()), (limits::PARSER_TURNS_KEPT + 1, "version 0"));
    world.control.prune_turns(place(10)).unwrap();
    assert_eq!((count(), world.reader(10).as_str()), (limits::PARSER_TURNS_KEPT, "version 1"));
}

#[test]
fn the_last_report_is_kept_and_goes_with_its_parser() {
    let world = World::new();
    let parser = world.create(Slot::Parser, "a");
    let note = |id: &str| {
        let errors = vec![dialects::ParsingError { log: "eA==".to_owned(), text: "no".to_owned() }];
        let validation = Validation { id: id.to_owned(), logs: 3, errors, ..Validation::default() };
        let (control, instance) = (&world.control, world.instance);
        control.note_validation(instance, Slot::Parser, OKTA, &parser.id, &validation, at(5)).unwrap();
    };
    let report = |id: &str| world.control.parser_report(world.instance, Slot::Parser, OKTA, &parser.id, id);
    note("r1");
    note("r2");
    assert!(matches!(report("r1"), Err(ControlError::NotFound(_))));
    assert_eq!(report("r2").unwrap().errors.len(), 1);
    let shown = world.control.get_parser(world.instance, Slot::Parser, OKTA, &parser.id).unwrap();
    let shown = shown.validation.unwrap();
    assert_eq!((shown.id.as_str(), shown.logs, shown.errors.len()), ("r2", 3, 0));
    world.control.delete_parser(world.instance, Slot::Parser, OKTA, &parser.id, at(6)).unwrap();
    assert!(world.control.resources.list(super::REPORT, None).unwrap().is_empty());
}

#[test]
fn programs_are_compiled_once() {
    let world = World::new();
    let id = world.create(Slot::Parser, "a").id;
    world.activate(Slot::Parser, Some(&id), 10);
    let reader = || world.control.parser_schedule().unwrap().latest(world.instance, OKTA).parser.unwrap();
    assert!(Arc::ptr_eq(&reader(), &reader()));
}
