//! The fault suite in its short form: a few faults of each guarantee, and proof that it finds what is there to be found.
//! `make faults` is the long form.

use anyhow::Result;
use millstream_integration_tests::faults::{
    FaultKind, Guarantee, Options, Outcome, Program, ViolationKind, run,
};

fn options(guarantee: Guarantee, faults: usize, nodes: usize) -> Options {
    Options {
        faults,
        seed: 1,
        guarantee,
        judged_by: guarantee,
        kinds: FaultKind::possible(guarantee, nodes),
        programs: Program::ALL.to_vec(),
        nodes,
        instances: 2,
        rate: 500,
        logs: None,
    }
}

fn report(options: &Options, outcome: &Outcome) -> String {
    let batches: Vec<String> = outcome.batches.iter().map(|batch| options.report(batch)).collect();
    format!("{}\n{}", outcome.summary(), batches.join("\n"))
}

fn assert_faultless(options: &Options) -> Result<()> {
    let outcome = run(options, &mut |_| ())?;
    assert!(outcome.is_faultless(), "{}", report(options, &outcome));
    assert_eq!(outcome.faults(), options.faults);
    Ok(())
}

#[test]
fn nothing_is_lost_and_nothing_is_twice_under_exactly_once() -> Result<()> {
    assert_faultless(&options(Guarantee::ExactlyOnce, 10, 3))
}

#[test]
fn nothing_is_lost_under_at_least_once_and_only_what_was_not_committed_is_twice() -> Result<()> {
    let kinds = vec![FaultKind::Kill, FaultKind::Step, FaultKind::Power, FaultKind::Disk, FaultKind::Clock];
    assert_faultless(&Options { kinds, ..options(Guarantee::AtLeastOnce, 6, 1) })
}

/// A suite that cannot fail proves nothing. Whether a kill meets records that are not committed is chance, so it has some tries.
#[test]
fn what_at_least_once_does_twice_is_found_when_it_is_held_to_exactly_once() -> Result<()> {
    let mut seeds = [1, 101, 201, 301, 401, 501].into_iter();
    let (options, outcome) = loop {
        let Some(seed) = seeds.next() else { panic!("no kill made anything come twice") };
        let options = Options {
            judged_by: Guarantee::ExactlyOnce,
            kinds: vec![FaultKind::Kill],
            programs: vec![Program::Count],
            seed,
            ..options(Guarantee::AtLeastOnce, 3, 1)
        };
        let outcome = run(&options, &mut |_| ())?;
        if outcome.count(ViolationKind::Duplicated) > 0 {
            break (options, outcome);
        }
    };
    // A count that only the changelog had when a process died is passed over by the next one. No record may be.
    let violations = outcome.batches.iter().flat_map(|batch| &batch.findings.violations);
    let mut lost = violations.filter(|one| one.kind == ViolationKind::Lost).map(ToString::to_string);
    let lost_record = lost.find(|what| what.contains("is not in"));
    assert_eq!(lost_record, None, "{}", report(&options, &outcome));
    let text = report(&options, &outcome);
    let again = format!("--seed {} --faults 3", options.seed);
    assert!(text.contains(&again) && text.contains("--judged-by exactly-once"), "{text}");
    Ok(())
}
