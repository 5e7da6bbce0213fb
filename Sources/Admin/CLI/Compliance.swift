// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
struct ComplianceVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "compliance", abstract: "x")
}
