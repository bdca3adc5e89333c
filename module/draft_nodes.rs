// SPDX-License-Identifier: GPL-2.0

//! Changes of nodes that a draft has.

use crate::draft::{Draft, DraftMember, Outcome};
use fep_core::validate::{Node, NodePattern, Service};
use fep_uapi::Reason;

impl Draft {
    /// A node of a service, to be changed.
    pub(crate) fn member(&mut self, id: &Service, node: &Node) -> Outcome<&mut DraftMember> {
        let contents = self.service(id)?.edit()?;
        let member = contents.members.iter_mut().find(|m| m.node == *node);
        Ok(member.ok_or(Reason::NoSuchBackend)?)
    }

    /// Marks nodes failed, or takes the mark away.
    pub(crate) fn mark(
        &mut self,
        id: Option<Service>,
        pattern: &NodePattern,
        failed: bool,
    ) -> Outcome {
        self.edit_matching(id, pattern, |member| {
            // Restored again by a later operation, it has lost its routes all the same.
            member.ended |= failed && !member.failed;
            member.failed = failed;
        })
    }

    /// Changes every node that matches, in a service or in all.
    pub(crate) fn edit_matching(
        &mut self,
        id: Option<Service>,
        pattern: &NodePattern,
        mut edit: impl FnMut(&mut DraftMember),
    ) -> Outcome {
        let only = match id {
            Some(id) => Some(self.position(&id).ok_or(Reason::NoSuchService)?),
            None => None,
        };
        let mut found = false;
        for (at, service) in self.services.iter_mut().enumerate() {
            let meant = only.is_none_or(|only| only == at);
            if !meant || service.removed || !service.has(pattern) {
                continue;
            }
            found = true;
            let contents = service.edit()?;
            let members = contents.members.iter_mut();
            members
                .filter(|member| pattern.matches(&member.node))
                .for_each(&mut edit);
        }
        if found {
            Ok(())
        } else {
            Err(Reason::NoSuchBackend.into())
        }
    }
}
