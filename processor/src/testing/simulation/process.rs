//! A process of the simulation: it runs, is stopped by the system, or is dead; a dead one has no effect on anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::fate::{Fate, Fault};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Process {
    pub(super) name: String,
    pub(super) fate: Arc<Fate>,
    is_dead: AtomicBool,
    is_paused: AtomicBool,
    suffered: Mutex<BTreeSet<Fault>>,
}

impl Process {
    pub(super) fn new(name: String, fate: &Arc<Fate>) -> Arc<Self> {
        let fate = Arc::clone(fate);
        Arc::new(Process {
            name,
            fate,
            is_dead: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            suffered: Mutex::default(),
        })
    }

    /// Whether a fault strikes this process, which may fail of it from then on.
    pub(super) fn suffers(&self, fault: Fault) -> bool {
        let strikes = self.fate.strikes(fault);
        if strikes {
            self.has_to_suffer(fault);
        }
        strikes
    }

    /// A fault has struck that concerns this process, maybe among others.
    pub(super) fn has_to_suffer(&self, fault: Fault) {
        self.suffered.lock().insert(fault);
    }

    pub(super) fn has_suffered(&self, fault: Fault) -> bool {
        self.suffered.lock().contains(&fault)
    }

    /// Every call out of the process begins here: it may be the one at which the process dies.
    pub(super) fn calls(&self, what: &str) -> Result<()> {
        if !self.is_dead() && self.fate.strikes(Fault::Crash) {
            self.fate.note(|| format!("{} dies at: {what}", self.name));
            self.die();
        }
        if self.is_dead() { Err(Error::fatal("the process is dead")) } else { Ok(()) }
    }

    /// A question that may remain without an answer.
    pub(super) fn asks(&self, what: &str) -> Result<()> {
        self.calls(what)?;
        if self.fate.strikes(Fault::NoAnswer) {
            return Err(Error::new(ErrorKind::Retry, format!("no answer: {what}")));
        }
        Ok(())
    }

    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    pub(super) fn is_running(&self) -> bool {
        !self.is_dead() && !self.is_paused()
    }
}
