// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// What a permit permits in one way: as words, or by the account's shell.
///
/// A permit of patterns and `shell` has two parts, the words first: whatever they match is not the shell's.
struct PermitPart {
    /// The permit, with only this part's commands.
    var rule: Rule
    /// Whether the string goes to the account's shell.
    var usesShell: Bool
}

extension Rule {
    /// The parts of a permit, of which the first that matches decides how a command is run.
    var parts: [PermitPart] {
        guard let commands, commands.isShell else { return [PermitPart(rule: self, usesShell: false)] }
        var shell = self
        shell.commands = Commands(isShell: true)
        guard commands.isAny || !commands.isWithoutPatterns else { return [PermitPart(rule: shell, usesShell: true)] }
        var words = self
        words.commands?.isShell = false
        return [PermitPart(rule: words, usesShell: false), PermitPart(rule: shell, usesShell: true)]
    }
}
