// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// A sandbox in the policy's table: its place, and what each permit that uses it is asked for.
struct SandboxEntry: Sendable {
    let place: Int
    let isConfined: Bool
    let writesHome: Bool
}

/// Sandboxes: what each opens, with those that it extends.
extension Resolver {
    mutating func take(_ syntax: SandboxSyntax) {
        let name = syntax.name
        if SandboxDefinition.builtIn(name.value) != nil {
            sink.error(name.span, "sandbox '\(name.value)' is built in", hint: "extend it under another name")
        } else if let first = sandboxes[name.value] {
            twice(name, "sandbox", first.name.span)
        } else if sandboxOrder.count == Self.sandboxLimit {
            sink.error(name.span, "at most \(Self.sandboxLimit) sandboxes")
        } else {
            sandboxes[name.value] = syntax
            sandboxOrder.append(name.value)
        }
    }

    mutating func resolveSandboxes() {
        for name in sandboxOrder { define(name) }
        for name in sandboxOrder {
            guard let syntax = sandboxes[name], let definition = definitions[name] else { continue }
            let sandbox = definition.sandbox(named: name)
            _ = enter(sandbox, place(syntax.name.span))
            checkDirectories(sandbox, syntax)
        }
    }

    /// Puts a sandbox into the policy's table, with the place of its definition.
    private mutating func enter(_ sandbox: Sandbox, _ definedAt: FilePlace?) -> SandboxEntry {
        let entry = SandboxEntry(
            place: policy.sandboxes.count, isConfined: sandbox.isConfined, writesHome: sandbox.writesHome)
        table[sandbox.name] = entry
        policy.sandboxes.append(sandbox)
        policy.sandboxPlaces.append(definedAt)
        return entry
    }

    /// Works a sandbox out from the one that it extends, along the chain and without recursion.
    private mutating func define(_ name: String) {
        var chain: [SandboxSyntax] = []
        var next: String? = name
        var base: SandboxDefinition?
        while let current = next {
            if let known = definitions[current] ?? SandboxDefinition.builtIn(current) {
                base = known
                break
            }
            guard let syntax = sandboxes[current] else { return }
            chain.append(syntax)
            guard let extends = syntax.extends else {
                base = SandboxDefinition.builtIn(SandboxDefinition.defaultName)
                break
            }
            if chain.contains(where: { $0.name.value == extends.value }) {
                sink.error(extends.span, "sandbox '\(syntax.name.value)' extends itself")
                // Each of the ring stands on the default, so that it is reported once.
                for member in chain { definitions[member.name.value] = SandboxDefinition.builtIn("strict") }
                return
            }
            if sandboxes[extends.value] == nil, SandboxDefinition.builtIn(extends.value) == nil {
                unknown(extends, "sandbox", Array(sandboxes.keys) + SandboxDefinition.builtInNames)
                base = SandboxDefinition.builtIn(SandboxDefinition.defaultName)
                break
            }
            next = extends.value
        }
        guard var definition = base else { return }
        for syntax in chain.reversed() {
            apply(syntax, to: &definition)
            definitions[syntax.name.value] = definition
        }
    }

    private mutating func apply(_ syntax: SandboxSyntax, to definition: inout SandboxDefinition) {
        for item in syntax.items {
            if !definition.base.isConfined {
                switch item.value {
                case .read, .write, .execute, .systemCalls, .network, .onViolation, .landlock:
                    sink.error(
                        item.span, "a sandbox that extends 'unconfined' has nothing of Landlock, filter or network")
                    continue
                default: break
                }
            }
            switch item.value {
            case .read(let paths): definition.base.read = paths.map(\.value)
            case .write(let paths): definition.base.write = paths.map(\.value)
            case .execute(let paths): definition.base.execute = paths.map(\.value)
            case .systemCalls(let allow, let deny):
                definition.allowed = allow
                definition.denied = deny
            case .network(let network): definition.base.network = network
            case .limits(let limits): definition.base.limits = limits
            case .timeout(let time): definition.base.timeout = time
            case .umask(let mask): definition.base.umask = mask
            case .path(let path): definition.base.searchPath = path
            case .environment(let variables): definition.base.environment = variables
            case .onViolation(let action): definition.base.onViolation = action
            case .landlock(let version): definition.base.requiredLandlock = version
            }
        }
    }

    private func checkDirectories(_ sandbox: Sandbox, _ syntax: SandboxSyntax) {
        guard let finding = forbiddenDirectory(sandbox) else { return }
        // The item that names the path, or the sandbox's name where the path is inherited.
        let item = syntax.items.first { item in
            switch item.value {
            case .read(let paths), .write(let paths), .execute(let paths): paths.contains { $0.value == finding.path }
            default: false
            }
        }
        sink.error(item?.span ?? syntax.name.span, "sandbox '\(sandbox.name)' \(finding.text)")
    }

    private func forbiddenDirectory(_ sandbox: Sandbox) -> (path: Sandbox.Path, text: String)? {
        guard sandbox.isConfined else { return nil }
        let reads = sandbox.read + sandbox.execute + sandbox.write
        let guarded = [
            (directories.state, "state", reads, "opens"), (directories.runtime, "runtime", reads, "opens"),
            (directories.policy, "policy", sandbox.write, "can write"),
        ]
        for (directory, name, paths, verb) in guarded {
            guard let directory, let path = Sandbox.path(among: paths, opening: directory) else { continue }
            return (path, "\(verb) the \(name) directory \(directory.printable) through \(path.text)")
        }
        return nil
    }

    /// The sandbox of a permit, as its place in the table.
    mutating func sandbox(of note: RuleNote, _ rule: Int) -> Int {
        let name = note.sandbox?.value ?? SandboxDefinition.defaultName
        let span = note.sandbox?.span ?? note.name
        let sandbox: SandboxEntry
        if let (last, known) = lastSandbox, last == name {
            // Most permits have the one or the other.
            sandbox = known
        } else if let known = table[name] {
            sandbox = known
            lastSandbox = (name, sandbox)
        } else if let builtIn = SandboxDefinition.builtIn(name)?.sandbox(named: name) {
            sandbox = enter(builtIn, nil)
            if let finding = forbiddenDirectory(builtIn) { sink.error(span, "sandbox '\(name)' \(finding.text)") }
        } else {
            if sandboxes[name] == nil, let given = note.sandbox {
                unknown(given, "sandbox", Array(sandboxes.keys) + SandboxDefinition.builtInNames)
            }
            return 0
        }
        if !sandbox.isConfined {
            sink.warning(span, "permit '\(policy.rules[rule].name)' runs what it permits without Landlock ('\(name)')")
        }
        // What runs there could write its own .rhosts, and so choose who is trusted next. A guest's home is gone then.
        let readsRhosts = settings.serves(.rsh) && settings.rsh.trust == .rhosts
        let isForGuests = policy.rules[rule].targets?.isForGuestsAlone ?? false
        if sandbox.writesHome, readsRhosts, !policy.rules[rule].selfTrust, !isForGuests {
            sink.error(
                span, "sandbox '\(name)' can write the target's home, and with it the .rhosts that service rsh trusts",
                hint: "end the rule in 'self-trust' if that is meant")
        }
        return sandbox.place
    }
}
