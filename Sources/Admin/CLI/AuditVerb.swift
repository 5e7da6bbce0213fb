// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit`: the trail, for people.
struct AuditVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Read, verify and rotate the trail.",
        discussion: """
            The trail is STATE/audit/trail.log, in the grammar of auditd: ausearch -if and aureport -if read it, too.

            EXAMPLES
              portcullis audit last --since today
              portcullis audit show --user backup --since 2d
              portcullis audit report --html report.html --policy /etc/portcullis/portcullis.policy
            """,
        subcommands: [
            AuditShow.self, AuditLast.self, AuditFollow.self, AuditStatistics.self, AuditReport.self,
            AuditExport.self, AuditVerify.self, AuditRotate.self,
        ])
}
