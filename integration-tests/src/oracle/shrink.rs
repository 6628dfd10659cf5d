//! Leaves out of a case what can be left out, until nothing can.

use super::case::{Case, Statement, Step, Store};

/// The smallest case found that `still_differs`.
pub fn shrink(case: &Case, still_differs: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut smallest = case.clone();
    loop {
        let found = smaller(&smallest).into_iter().find(|candidate| still_differs(candidate));
        match found {
            Some(candidate) => smallest = candidate,
            None => return smallest,
        }
    }
}

/// Cases a little smaller, the smallest first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for size in [case.steps.len() / 2, case.steps.len() / 4, 1] {
        if size > 0 {
            all.extend((0..case.steps.len()).step_by(size).map(|at| without_steps(case, at, size)));
        }
    }
    for index in (0..case.program.len()).rev() {
        all.push(without_statement(case, index));
        all.extend(with_statement_bypassed(case, index));
    }
    // No program at all tells nothing, even if both sides do not refuse it.
    all.retain(|smaller| !smaller.program.is_empty());
    for (index, statement) in case.program.iter().enumerate() {
        all.extend(simpler_statements(statement).into_iter().map(|simpler| {
            let mut smaller = case.clone();
            smaller.program[index] = simpler;
            smaller
        }));
    }
    for (index, step) in case.steps.iter().enumerate() {
        all.extend(simpler_steps(step, index).into_iter().map(|simpler| {
            let mut smaller = case.clone();
            smaller.steps[index] = simpler;
            smaller
        }));
    }
    if case.commits_by_hand {
        all.push(Case { commits_by_hand: false, ..case.clone() });
    }
    if case.optimized {
        all.push(Case { optimized: false, ..case.clone() });
    }
    all
}

fn without_steps(case: &Case, at: usize, size: usize) -> Case {
    let mut smaller = case.clone();
    smaller.steps.drain(at..(at + size).min(case.steps.len()));
    smaller
}

/// Without the statement, what builds on it, and records for topics that nobody reads then.
fn without_statement(case: &Case, index: usize) -> Case {
    let id = &case.program[index].id;
    let gone: Vec<&str> = case.below(id).iter().map(|statement| &*statement.id).chain([&**id]).collect();
    let mut smaller = case.clone();
    smaller.program.retain(|statement| !gone.contains(&&*statement.id));
    let topics: Vec<&str> = smaller
        .program
        .iter()
        .filter(|statement| statement.of.is_none())
        .filter_map(|source| source.topic.as_deref())
        .flat_map(|topics| topics.split(','))
        .collect();
    smaller.steps.retain(|step| match step {
        Step::Pipe(input) => topics.contains(&&*input.topic),
        _ => true,
    });
    smaller
}

/// With everything that builds on the statement built on what it builds on.
fn with_statement_bypassed(case: &Case, index: usize) -> Option<Case> {
    let Statement { id, of, .. } = &case.program[index];
    let of = of.clone()?;
    let mut smaller = case.clone();
    smaller.program.remove(index);
    for statement in &mut smaller.program {
        for parent in statement.of.iter_mut().chain(&mut statement.with) {
            if parent == id {
                parent.clone_from(&of);
            }
        }
    }
    Some(smaller)
}

fn simpler_statements(statement: &Statement) -> Vec<Statement> {
    let mut simpler = Vec::new();
    if statement.named.is_some() {
        simpler.push(Statement { named: None, ..statement.clone() });
    }
    let Some(store) = &statement.store else { return simpler };
    simpler.push(Statement { store: None, ..statement.clone() });
    let plain = Store { name: store.name.clone(), ..Store::default() };
    let stores = [
        plain,
        Store { cached: true, ..store.clone() },
        Store { logged: true, ..store.clone() },
        Store { in_memory: false, ..store.clone() },
        Store { retention: None, ..store.clone() },
    ];
    let stores = stores.into_iter().filter(|simpler| simpler != store);
    simpler.extend(stores.map(|store| Statement { store: Some(store), ..statement.clone() }));
    simpler
}

/// Records without headers, with the key `a`, with the value `x`, at the time of their place.
fn simpler_steps(step: &Step, index: usize) -> Vec<Step> {
    let Step::Pipe(input) = step else { return Vec::new() };
    let mut simpler = Vec::new();
    let mut headerless = input.clone();
    headerless.headers.clear();
    simpler.push(headerless);
    let mut other_key = input.clone();
    other_key.key = input.key.as_ref().map(|_| "a".to_owned());
    simpler.push(other_key);
    let mut other_value = input.clone();
    other_value.value = input.value.as_ref().map(|_| "x".to_owned());
    simpler.push(other_value);
    let mut other_time = input.clone();
    other_time.at = i64::try_from(index).unwrap_or_default().min(input.at);
    simpler.push(other_time);
    simpler.into_iter().filter(|simpler| simpler != input).map(Step::Pipe).collect()
}

#[cfg(test)]
mod tests {
    use super::super::case::{Input, Op};
    use super::*;

    fn statement(id: &str, op: Op, of: Option<&str>) -> Statement {
        let topic = of.is_none().then(|| id.to_owned());
        Statement { id: id.to_owned(), op, of: of.map(str::to_owned), topic, ..Statement::default() }
    }

    fn input(topic: &str, key: &str) -> Step {
        let (topic, key) = (topic.to_owned(), Some(key.to_owned()));
        Step::Pipe(Input { topic, key, value: Some("value".into()), at: 70, headers: Vec::new() })
    }

    #[test]
    fn what_does_not_matter_is_left_out() {
        let program = vec![
            statement("a", Op::Stream, None),
            statement("b", Op::Stream, None),
            statement("peek", Op::Peek, Some("a")),
            statement("filter", Op::Filter, Some("peek")),
            statement("other", Op::To, Some("b")),
        ];
        let steps = vec![input("b", "k"), input("a", "k"), Step::Commit, input("a", "z"), input("a", "k")];
        let case = Case {
            name: "large".into(),
            differs: None,
            commits_by_hand: true,
            optimized: true,
            program,
            steps,
        };
        let smallest = shrink(&case, &mut |case| {
            let is_z = |step: &Step| matches!(step, Step::Pipe(input) if input.key.as_deref() == Some("z"));
            case.program.iter().any(|statement| statement.op == Op::Filter) && case.steps.iter().any(is_z)
        });
        let mut filter = statement("filter", Op::Filter, Some("a"));
        filter.topic = None;
        assert_eq!(smallest.program, [statement("a", Op::Stream, None), filter]);
        let Step::Pipe(left) = &smallest.steps[..][0] else { panic!("{:?}", smallest.steps) };
        assert_eq!((smallest.steps.len(), left.value.as_deref(), left.at), (1, Some("x"), 0));
        assert!(!smallest.commits_by_hand && !smallest.optimized);
    }

    #[test]
    fn something_is_left_of_a_program() {
        let program = vec![statement("a", Op::Stream, None), statement("to", Op::To, Some("a"))];
        let steps = vec![input("a", "k")];
        let case = Case {
            name: "large".into(),
            differs: None,
            commits_by_hand: false,
            optimized: false,
            program,
            steps,
        };
        assert_eq!(shrink(&case, &mut |_| true).program, [statement("a", Op::Stream, None)]);
    }
}
