// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// Who and what is asked for, as this host knows them.
extension RequestSession {
    /// Looks the target up; its canonical name must be the requested bytes.
    func resolveAccount(_ target: UserName) -> AccountEntry {
        let found: AccountEntry?
        do {
            found = try Accounts.named(target)
        } catch {
            refuse(.unavailable, "name service: \(error)")
        }
        guard let entry = found, entry.name.bytes == target.bytes else { refuse(.unknownUser) }
        if !Process.isRoot, entry.uid != Process.userID {
            refuse(.accountRefused, "this gateway runs as uid \(Process.userID) and serves it alone")
        }
        return entry
    }

    /// What rules ask of an account.
    func describe(_ entry: AccountEntry, as name: UserName) -> Account {
        let ids = groupIDs(of: entry, named: name)
        var names: [ByteText] = []
        do {
            for id in ids {
                // A group without a name is no group that a rule can name.
                if let group = try Accounts.groupName(id), group.count <= 256 { names.append(group) }
            }
        } catch {
            // A group that is not known could be one that a forbid names.
            refuse(.unavailable, "name service: \(error)")
        }
        return Account(
            name: name, uid: entry.uid, groups: names, isSystem: Accounts.isSystem(entry),
            isGateway: input.gatewayUIDs.contains(entry.uid))
    }

    /// Splits the command and looks its program up.
    func requestedCommand(_ commandLine: ByteText) -> RequestedCommand {
        switch CommandLine(commandLine.bytes) {
        case .needsShell(let need):
            return .needsShell(firstWord: need.firstWord)
        case .words(let words):
            guard let first = words.first else { return .needsShell(firstWord: nil) }
            let searchPath = ByteText(Array(settings.searchPath.map(\.bytes).joined(separator: [UInt8(ascii: ":")])))
            do {
                let program = try SecureOpen.program(first, searchPath: searchPath)
                return .words(
                    words, program: RequestedCommand.Program(path: program.path, resolvedPath: program.resolved))
            } catch {
                return .words(words, program: nil)
            }
        }
    }

    /// What is executed: the program, its arguments, and the sandbox.
    struct LaunchPlan {
        var program: ByteText
        var arguments: [ByteText]
        var commandLine: ByteText
        var entry: AccountEntry
        var sandbox: CompiledSandbox
        var confinement: CommandConfinement
        var credentials: Credentials
    }

    /// Turns the terms of a permit into what will be executed.
    ///
    /// INVARIANT: without a shell exactly the words that were matched are executed, by the path that was matched.
    func planLaunch(
        _ terms: Terms, command: RequestedCommand, commandLine: ByteText, entry: AccountEntry
    ) -> LaunchPlan {
        guard input.sandboxes.indices.contains(terms.sandbox) else { refuse(.unavailable, "no such sandbox") }
        let compiled = input.sandboxes[terms.sandbox]
        let program: ByteText
        let arguments: [ByteText]
        if terms.usesShell {
            do {
                program = try SecureOpen.program(entry.shell, searchPath: "").path
            } catch {
                refuse(.commandNotFound, "the account's shell: \(error)")
            }
            let name = entry.shell.bytes.split(separator: UInt8(ascii: "/")).last.map { Array($0) } ?? entry.shell.bytes
            arguments = [ByteText(name), "-c", commandLine]
        } else {
            guard case .words(let words, let found?) = command else {
                refuse(.unavailable, "the engine permitted words that there are not")
            }
            program = found.path
            arguments = words
        }
        guard let target else { refuse(.unavailable) }
        let credentials = credentials(of: entry, named: target)
        checkSandbox(compiled.sandbox, terms: terms, home: entry.home)
        do {
            let confinement = try CommandConfinement(
                settle(compiled, home: entry.home), credentials: credentials, home: entry.home,
                sparesHome: sparesHome(terms), closed: closedDirectories, hasPrivateHome: guest != nil,
                boundsProcesses: boundsNumbers,
                groupBounds: input.cgroups?.bounds ?? [])
            return LaunchPlan(
                program: program, arguments: arguments, commandLine: commandLine, entry: entry, sandbox: compiled,
                confinement: confinement, credentials: credentials)
        } catch {
            refuse(.sandboxUnavailable, "\(error)")
        }
    }

    /// The ids that the command, and whoever reads the target's own files, has.
    func credentials(of entry: AccountEntry, named name: UserName) -> Credentials {
        // As a plain user groups can only be kept.
        let groups = Process.isRoot ? groupIDs(of: entry, named: name) : []
        return Credentials(uid: entry.uid, gid: entry.gid, groups: groups)
    }

    /// The target's groups, looked up once: those that rules see are those that the command has.
    private func groupIDs(of entry: AccountEntry, named name: UserName) -> [UInt32] {
        if let known = knownGroups { return known }
        guard let ids = Accounts.groups(of: name, primary: entry.gid), ids.count <= Account.groupLimit else {
            refuse(.unavailable, "the account has too many groups to look at")
        }
        let groups = Set(ids).sorted()
        knownGroups = groups
        return groups
    }

    /// Without namespaces /tmp is a fresh directory of this session's own.
    private func settle(_ compiled: CompiledSandbox, home: ByteText) -> CompiledSandbox {
        guard !Process.isRoot, let temporary = makeTemporaryDirectory() else { return compiled }
        var settled = compiled
        let replace = { (path: Sandbox.Path) -> Sandbox.Path in
            path == .absolute("/tmp") ? .absolute(ByteText(temporary)) : path
        }
        settled.sandbox.write = settled.sandbox.write.map(replace)
        settled.sandbox.read = settled.sandbox.read.map(replace)
        return settled
    }

    /// Whether what runs must not be able to write its own `.rhosts`. A guest's home is gone before anybody reads it.
    private func sparesHome(_ terms: Terms) -> Bool {
        settings.serves(.rsh) && settings.readsHostTrust && !terms.selfTrust && guest == nil
    }

    /// The gateway's own directories: the policy's may be read, where its mode lets the target.
    private var closedDirectories: [ClosedDirectory] {
        [
            ClosedDirectory(ByteText(input.stateDirectory)), ClosedDirectory(ByteText(input.runtimeDirectory)),
            ClosedDirectory(ByteText(input.policyDirectory), isReadable: true),
        ]
    }

    /// A sandbox that turns out to cover what it must not: the home without self-trust, or the gateway's directories.
    private func checkSandbox(_ sandbox: Sandbox, terms: Terms, home: ByteText) {
        if sparesHome(terms), Confinement.canWriteHome(sandbox, home: home) {
            refuse(.sandboxUnavailable, "it can write the target's home, and the rule does not say self-trust")
        }
        // What an absolute path opens the engine has held against these directories when it loaded the policy; only the
        // home is known no earlier than here.
        var shown = sandbox
        let isAbsolute = { (path: Sandbox.Path) in if case .absolute = path { true } else { false } }
        shown.write.removeAll(where: isAbsolute)
        shown.read.removeAll(where: isAbsolute)
        shown.execute.removeAll(where: isAbsolute)
        guard sandbox.isConfined, !(shown.write + shown.read + shown.execute).isEmpty else { return }
        for directory in [input.stateDirectory, input.runtimeDirectory, input.policyDirectory]
        where Confinement.canWrite(shown, home: home, to: ByteText(directory)) {
            refuse(.sandboxUnavailable, "it can write \(directory)")
        }
        for directory in [input.stateDirectory, input.runtimeDirectory]
        where Confinement.canRead(shown, home: home, from: ByteText(directory)) {
            refuse(.sandboxUnavailable, "it can read \(directory)")
        }
    }
}
