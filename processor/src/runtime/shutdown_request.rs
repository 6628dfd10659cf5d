//! How an instance asks all others of its application to end (KIP-671): it joins their group as a member whose client id says so.
//!
//! No group protocol carries words from member to member. But every instance looks at the group, at least before it takes a task from
//! another one, and that a member is there is known to the coordinator before any partition moves because of it.
//!
//! ```text
//! the instance that asks                                    every other one
//!   a thread fails; the others are told to end
//!   joins as <application>-shutdown-application-<process>
//!   sees that the group shows it   ─────────────────────>    its state updater sees it, answers no stream thread any more,
//!   closes the tasks of the thread, which leaves             and ends the instance with an error that names the process
//!   stays until only such members are left
//! ```
//! It commits nothing and reads nothing: what it is assigned waits in Kafka, as that of any other member that has ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::shared::Shared;
use super::state_updater::GroupView;
use crate::clients::{Clients, GroupChange};
use crate::error::Result;
use crate::kafka::MemberAssignment;
use crate::membership::GroupMember;

/// How long the thread that failed waits until the group shows the request, before it is closed in any case.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request stays at most, in sessions: a member that died without a word is there for one.
const SESSIONS: u32 = 3;
/// However short they are: some instances look at the group only now and then.
const LEAST_STAY: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// As what an instance asks.
fn client_id(application_id: &str, process_id: &str) -> String {
    format!("{application_id}-shutdown-application-{process_id}")
}

/// The process that asks, if the member is there for that.
fn asker<'a>(application_id: &str, member: &'a MemberAssignment) -> Option<&'a str> {
    member.client_id.strip_prefix(application_id)?.strip_prefix("-shutdown-application-")
}

/// A process that asks all instances of the application to end, if one does.
pub(crate) fn process_that_asks<'a>(
    application_id: &str,
    members: &'a [MemberAssignment],
) -> Option<&'a str> {
    members.iter().find_map(|member| asker(application_id, member))
}

/// See the module's description. It is taken back when it is dropped.
pub(crate) struct ShutdownRequest<M> {
    client_id: String,
    member: M,
    group: GroupView,
    shared: Arc<Shared>,
}

impl<M: GroupMember> ShutdownRequest<M> {
    /// Asks, and returns once everybody who looks at the group sees it. None, said in the log, if nobody would.
    pub(crate) fn make<C: Clients<Consumer = M>>(
        clients: &C,
        shared: &Arc<Shared>,
        group: GroupView,
    ) -> Option<Self> {
        // The thread that failed has not left yet, unless it never joined.
        if matches!(group(), Ok(None)) {
            warn!(application = %shared.application_id, "no other instance is asked to end: there is no group, or the cluster does not tell who is in it");
            return None;
        }
        let request = ShutdownRequest::join(clients, shared, group);
        request
            .inspect_err(|error| error!(%error, "the other instances cannot be asked to end, and go on"))
            .ok()
    }

    fn join<C: Clients<Consumer = M>>(clients: &C, shared: &Arc<Shared>, group: GroupView) -> Result<Self> {
        let client_id = client_id(&shared.application_id, shared.process_id());
        let member = clients.group_consumer(&shared.settings, &shared.application_id, &client_id, None)?;
        member.subscribe(&shared.program().inputs.topics())?;
        let mut request = ShutdownRequest { client_id, member, group, shared: Arc::clone(shared) };
        let is_shown = request.stay(JOIN_TIMEOUT, |_| true)?;
        let client_id = &request.client_id;
        if is_shown {
            info!(%client_id, "all instances of the application are asked to end");
        } else {
            warn!(%client_id, "the group does not show yet that all instances are asked to end; others may take the tasks that are given up");
        }
        Ok(request)
    }

    /// Stays until no other instance is in the group. False if some are for longer than makes sense, or nobody is to be waited for.
    pub(crate) fn await_others(mut self) -> bool {
        let patience = LEAST_STAY.max(SESSIONS * self.shared.settings.session_timeout);
        let application_id = Arc::clone(&self.shared.application_id);
        let is_no_instance = |member: &MemberAssignment| asker(&application_id, member).is_some();
        let have_left = self.stay(patience, |members| members.iter().all(is_no_instance));
        have_left.unwrap_or_else(|error| {
            error!(%error, "it is not a member of the group any more, whose other instances may not have seen it");
            false
        })
    }

    /// Is a member of the group until that shows it, and with it what `is_enough`. False if it does not within the time, or nobody is to be waited for.
    fn stay(&mut self, within: Duration, is_enough: impl Fn(&[MemberAssignment]) -> bool) -> Result<bool> {
        let clock = Arc::clone(&self.shared.clock);
        let end = clock.monotonic() + within;
        loop {
            self.serve_group()?;
            match (self.group)() {
                Ok(Some(group)) if self.is_shown(&group.members) && is_enough(&group.members) => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) => debug!(%error, "cannot see who is in the group"),
            }
            if clock.monotonic() >= end || !self.shared.awaits_others() {
                return Ok(false);
            }
            clock.sleep(LOOK_INTERVAL);
        }
    }

    fn is_shown(&self, members: &[MemberAssignment]) -> bool {
        members.iter().any(|member| member.client_id == self.client_id)
    }

    /// Carries out what the group decides, and reads nothing.
    fn serve_group(&mut self) -> Result<()> {
        while let Some(event) = self.member.poll_group()? {
            match event.change {
                GroupChange::AssignedAll | GroupChange::AssignedMore => self.member.assign(&[])?,
                GroupChange::Revoked | GroupChange::Lost => self.member.unassign(&[])?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(client_ids: &[&str]) -> Vec<MemberAssignment> {
        let member = |id: &&str| MemberAssignment {
            client_id: (*id).to_owned(),
            member_id: (*id).to_owned(),
            group_instance_id: None,
            partitions: Vec::new(),
        };
        client_ids.iter().map(member).collect()
    }

    #[test]
    fn a_client_id_says_who_asks() {
        let asks = client_id("shop-eu", "6f-1a");
        assert_eq!(asks, "shop-eu-shutdown-application-6f-1a");
        let thread = "shop-eu-StreamThread-1-6f-1a-consumer";
        assert_eq!(process_that_asks("shop-eu", &members(&[thread, &asks, "a-console"])), Some("6f-1a"));
        assert_eq!(process_that_asks("shop-eu", &members(&[thread, "a-console"])), None);
        assert_eq!(
            process_that_asks("shop", &members(&[&asks])),
            None,
            "it asks those of another application"
        );
    }
}
