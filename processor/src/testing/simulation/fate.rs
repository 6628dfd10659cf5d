//! All chance of a schedule, drawn from its seed: which fault strikes when, who is next, how much is delivered.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What can go wrong. The first group strikes inside of calls, the second between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    /// The process dies before the call has an effect.
    Crash,
    /// The code of a user panics.
    Panic,
    /// The disk refuses a request, or says so although it carried it out.
    DiskFails,
    /// The brokers do not answer a question.
    NoAnswer,
    /// An offset commit has no effect and fails.
    CommitRefused,
    /// An offset commit has its effect and fails.
    CommitAnswerLost,
    /// Some records are not acknowledged in time.
    FlushTimesOut,
    /// A record cannot be delivered; under at-least-once it may pass if it is sent again alone.
    RecordFails,
    /// The client takes no record, because its transaction has failed.
    SendRefused,
    /// The client takes no record for as long as a thread is patient, because its queue is full.
    QueueFull,
    /// Nobody says for as long as a thread is patient how many partitions a topic has; the process may be asked to end meanwhile.
    PartitionsUnknown,
    /// The transaction must be aborted, before or after the offsets became part of it.
    TransactionFails,
    /// An abort gets no answer, and has no effect.
    AbortUnanswered,
    /// The end of a transaction gets no answer; it had its effect.
    EndUnknownApplied,
    /// The end of a transaction gets no answer; it has its effect later, if nobody fences it before.
    EndUnknownPending,
    /// Positions cannot be changed.
    SeekFails,

    /// A process is killed between two rounds.
    Kill,
    /// A process ends as asked, and starts again later.
    Stop,
    /// A process is stopped by the system, and goes on as if nothing had happened after others took its tasks.
    Pause,
    /// A stream thread is added to a process that runs.
    AddThread,
    /// A stream thread is removed from a process that runs, if only the last one.
    RemoveThread,
    /// The group forms anew with the same members, of which some may get others' shares.
    Rebalance,
    /// The group takes a member for dead that is not.
    Kick,
    /// Somebody uses the transactional id of a thread that still runs.
    Fence,
    /// The wall clock is set, forward or back.
    ClockJump,
    /// Everything stands still for longer than transactions and sessions last.
    Stall,
    /// The brokers drop records of the changelogs that newer ones hide.
    Compaction,
}

impl Fault {
    pub(super) const ALL: [Fault; 27] = [
        Fault::Crash,
        Fault::Panic,
        Fault::DiskFails,
        Fault::NoAnswer,
        Fault::CommitRefused,
        Fault::CommitAnswerLost,
        Fault::FlushTimesOut,
        Fault::RecordFails,
        Fault::SendRefused,
        Fault::QueueFull,
        Fault::PartitionsUnknown,
        Fault::TransactionFails,
        Fault::AbortUnanswered,
        Fault::EndUnknownApplied,
        Fault::EndUnknownPending,
        Fault::SeekFails,
        Fault::Kill,
        Fault::Stop,
        Fault::Pause,
        Fault::AddThread,
        Fault::RemoveThread,
        Fault::Rebalance,
        Fault::Kick,
        Fault::Fence,
        Fault::ClockJump,
        Fault::Stall,
        Fault::Compaction,
    ];

    /// How often it strikes, in a thousand occasions, where a schedule has it at all.
    fn per_mille(self) -> u32 {
        match self {
            Fault::Crash => 2,
            Fault::DiskFails => 20,
            Fault::NoAnswer => 50,
            Fault::Kill | Fault::Stop | Fault::Pause | Fault::AddThread | Fault::RemoveThread => 12,
            Fault::Rebalance | Fault::Kick | Fault::Fence | Fault::ClockJump | Fault::Compaction => 8,
            Fault::PartitionsUnknown => 40,
            Fault::SendRefused | Fault::QueueFull => 4,
            Fault::Panic => 1,
            Fault::Stall => 3,
            _ => 60,
        }
    }
}

/// See the module's description. Shared by everything that is simulated.
pub(super) struct Fate(Mutex<Inner>);

struct Inner {
    chance: SmallRng,
    per_mille: BTreeMap<Fault, u32>,
    struck: BTreeMap<Fault, u64>,
    trace: Option<Vec<String>>,
}

impl Fate {
    /// `has`: whether a schedule of this kind can have the fault. Each schedule has about half of them, so that rare
    /// combinations are not hidden behind frequent ones.
    pub(super) fn new(seed: u64, is_traced: bool, has: impl Fn(Fault) -> bool) -> Self {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut per_mille = BTreeMap::new();
        for fault in Fault::ALL {
            let strength = chance.random_range(0..4);
            if has(fault) && strength > 0 {
                per_mille.insert(fault, fault.per_mille() * (strength - 1));
            }
        }
        let trace = is_traced.then(Vec::new);
        Fate(Mutex::new(Inner { chance, per_mille, struck: BTreeMap::new(), trace }))
    }

    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let inner = &mut *self.0.lock();
        let per_mille = inner.per_mille.get(&fault).copied().unwrap_or(0);
        let strikes = per_mille > 0 && inner.chance.random_range(0..1000) < per_mille;
        if strikes {
            *inner.struck.entry(fault).or_default() += 1;
            inner.note(|| format!("! {fault:?}"));
        }
        strikes
    }

    /// A number from 0 to `below`, which is left out; 0 if there is none.
    pub(super) fn below(&self, below: usize) -> usize {
        if below < 2 { 0 } else { self.0.lock().chance.random_range(0..below) }
    }

    pub(super) fn one_in(&self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// From now on nothing goes wrong.
    pub(super) fn relent(&self) {
        self.0.lock().per_mille.clear();
    }

    pub(super) fn struck(&self) -> BTreeMap<Fault, u64> {
        self.0.lock().struck.clone()
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        self.0.lock().note(line);
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.0.lock().trace.clone().unwrap_or_default()
    }
}

impl Inner {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }
}
