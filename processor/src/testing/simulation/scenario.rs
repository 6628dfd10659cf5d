//! What a seed stands for, apart from chance: the program, the guarantee, the size of everything.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::cluster::{Protocol, Timeouts};
use super::fate::Fault;
use super::mutation::Mutation;
use super::program::{Kind, Program};
use crate::config::{ProcessingGuarantee, Settings};

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) program: Program,
    pub(super) guarantee: ProcessingGuarantee,
    pub(super) protocol: Protocol,
    /// Whether a thread may lose its tasks without being asked. Under at-least-once it may then write over what their new owner
    /// wrote, because nothing fences it.
    pub(super) has_zombies: bool,
    pub(super) machines: usize,
    pub(super) threads: usize,
    pub(super) standby_replicas: usize,
    pub(super) inputs: usize,
    pub(super) steps: usize,
    pub(super) commit_interval: Duration,
    pub(super) checkpoint_interval: Duration,
    /// Whether checkpoints are written behind the threads, at any later time.
    pub(super) checkpoints_behind: bool,
    /// Whether a thread that failed begins anew, instead of the instance ending.
    pub(super) replaces_threads: bool,
    pub(super) buffered_records: usize,
    pub(super) max_uncommitted_bytes: usize,
    pub(super) mutation: Option<Mutation>,
}

impl Scenario {
    pub(super) fn of_seed(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut chance = SmallRng::seed_from_u64(!seed);
        let mut one_of = |choices: &[u64]| choices[chance.random_range(0..choices.len())];
        let kind = match one_of(&[0, 1]) {
            0 => Kind::Tally,
            _ if seed % 5 == 3 => Kind::JoinWithCopy,
            _ => Kind::Join,
        };
        let is_exactly_once = one_of(&[0, 1, 2]) > 0;
        let guarantee =
            if is_exactly_once { ProcessingGuarantee::ExactlyOnce } else { ProcessingGuarantee::AtLeastOnce };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Scenario {
            seed,
            program: Program {
                kind,
                is_cached: one_of(&[0, 1]) == 1,
                chooses_partitions: seed.is_multiple_of(2),
                partitions: 2,
            },
            guarantee,
            protocol: if one_of(&[0, 1]) == 0 { Protocol::Eager } else { Protocol::Incremental },
            has_zombies: is_exactly_once || one_of(&[0, 1]) == 1,
            machines: size(one_of(&[1, 2, 2, 3])),
            threads: size(one_of(&[1, 1, 2])),
            standby_replicas: size(one_of(&[0, 1, 1, 2])),
            inputs: size(one_of(&[10, 20, 40])),
            steps: size(one_of(&[60, 150, 300])),
            commit_interval: Duration::from_millis(one_of(&[1, 10, 50, 200])),
            checkpoint_interval: Duration::from_millis(one_of(&[1, 50, 500])),
            checkpoints_behind: one_of(&[0, 1, 1]) == 1,
            replaces_threads: one_of(&[0, 1]) == 1,
            buffered_records: size(one_of(&[2, 5, 1000])),
            max_uncommitted_bytes: size(one_of(&[100, 1 << 20])),
            mutation,
        }
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        self.guarantee == ProcessingGuarantee::ExactlyOnce
    }

    /// Whether stores and changelogs must be equal to each other and to the recount, also in between.
    pub(super) fn has_faithful_stores(&self) -> bool {
        self.is_exactly_once() || !self.has_zombies
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts { session: 6_000, transaction: 10_000 }
    }

    pub(super) fn settings(&self) -> Settings {
        let millis = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        Settings {
            num_stream_threads: self.threads,
            num_standby_replicas: self.standby_replicas,
            processing_guarantee: self.guarantee,
            commit_interval: Some(self.commit_interval),
            checkpoint_interval: self.checkpoint_interval,
            max_uncommitted_bytes: self.max_uncommitted_bytes,
            buffered_records_per_partition: self.buffered_records,
            // Full always, or now and then.
            input_buffer_max_bytes: if self.buffered_records.is_multiple_of(2) { 0 } else { 8 << 10 },
            session_timeout: millis(self.timeouts().session),
            transaction_timeout: millis(self.timeouts().transaction),
            request_timeout: Duration::from_secs(1),
            state_memory: 4 << 20,
            ..Settings::new("simulated:9092")
        }
    }

    pub(super) fn can_have(&self, fault: Fault) -> bool {
        match fault {
            Fault::CommitRefused | Fault::CommitAnswerLost => !self.is_exactly_once(),
            Fault::SendRefused
            | Fault::TransactionFails
            | Fault::AbortUnanswered
            | Fault::EndUnknownApplied
            | Fault::EndUnknownPending
            | Fault::SeekFails
            | Fault::Fence => self.is_exactly_once(),
            Fault::Pause | Fault::Kick => self.has_zombies,
            Fault::PartitionsUnknown => self.program.chooses_partitions,
            // What a zombie wrote may hide what it does not know, and must not take it along; nor may what is counted again be gone.
            Fault::Compaction => self.has_faithful_stores() && self.program.kind != Kind::JoinWithCopy,
            _ => true,
        }
    }
}
