//! Runs steps on stores beside a model of them.

use proptest::prelude::*;

use super::*;

/// Stores and what is expected of them.
pub(super) trait Subject {
    type Variant;
    type Step;

    fn new(variant: Self::Variant) -> Self;

    /// Does a step to both.
    fn run(&mut self, step: &Self::Step);

    /// Compares them.
    fn check(&mut self);
}

/// Checks that stores agree with their model from the beginning and after every step.
pub(super) fn check_steps<S: Subject>(variant: S::Variant, steps: &[S::Step]) {
    let mut subject = S::new(variant);
    subject.check();
    for step in steps {
        subject.run(step);
        subject.check();
    }
}

/// With a budget of nothing, every row that is not in use is evicted.
pub(super) fn budget() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1 << 20)]
}

/// Opens the only store of a task, on the disk or in memory.
pub(super) fn open_dormant_in(
    root: Option<&std::path::Path>,
    budget: usize,
    builder: Arc<dyn StoreBuilder>,
) -> DormantStores {
    let locked = root.map(|root| StateDirectory::new(root, "shop").lock_task(TASK).unwrap());
    DormantStores::open(TASK, "shop", locked, StateMemory::new(budget), &[builder]).unwrap()
}
