// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Turns statements into a policy: names become what they name.
struct Resolver {
    let statements: [Statement]
    let directories: GuardedDirectories
    var sink: DiagnosticSink

    /// The most items of all sets together, with the sets that they name written out.
    static let resolvedLimit = 4_000_000
    /// The most sandboxes.
    static let sandboxLimit = 1_024

    private var settings = Settings()
    private var services: [Service: ServiceSyntax] = [:]
    private var networks = SetTable<NetworkItem>(kind: "networks")
    private var users = SetTable<UserItem>(kind: "users")
    private var commands = SetTable<CommandItem>(kind: "commands")
    private var hours = SetTable<HoursItem>(kind: "hours")
    private var sandboxes: [String: SandboxSyntax] = [:]
    private var sandboxOrder: [String] = []
    private var rules: [RuleSyntax] = []

    private var blocks: [String: NamedSet<[AddressBlock]>] = [:]
    private var accounts: [String: NamedSet<AccountSet>] = [:]
    private var patterns: [String: NamedSet<[CommandPattern]>] = [:]
    private var ranges: [String: NamedSet<[WeeklyRange]>] = [:]
    private var resolvedCount = 0

    private var definitions: [String: SandboxDefinition] = [:]
    private var table: [String: Int] = [:]
    private var policy = Policy()

    init(statements: [Statement], directories: GuardedDirectories, sink: DiagnosticSink) {
        self.statements = statements
        self.directories = directories
        self.sink = sink
    }

    mutating func resolve(analyses: Bool) -> Policy {
        gather()
        checkSettings()
        resolveSets()
        resolveSandboxes()
        policy.settings = settings
        policy.rules.reserveCapacity(rules.count)
        for syntax in rules { policy.rules.append(rule(syntax)) }
        warnOfUnusedSets()
        warnOfFamilies()
        if sink.errorCount == 0 {
            var analyst = Analyst(policy: policy, spans: rules.map(\.name.span), sink: sink)
            analyst.compareWithSettings()
            if analyses { analyst.compareRules() }
            sink = analyst.sink
        }
        return policy
    }

    // MARK: Gathering

    private mutating func gather() {
        var seen: [String: Span] = [:]
        var ruleNames: [String: Span] = [:]
        ruleNames.reserveCapacity(statements.count)
        for statement in statements {
            switch statement.payload {
            case .version, .include, .broken:
                break
            case .secureTCPIP(let value):
                once(statement, "securetcpip", &seen)
                settings.secureTCPIP = value
            case .service(let syntax):
                once(statement, "service \(syntax.settings.service.name)", &seen)
                settings[syntax.settings.service] = syntax.settings
                services[syntax.settings.service] = syntax
            case .refusal(let value):
                once(statement, "refusal", &seen)
                settings.refusal = value
            case .audit(let value):
                once(statement, "audit", &seen)
                settings.audit = value
            case .searchPath(let value):
                once(statement, "search-path", &seen)
                settings.searchPath = value
            case .networks(let set):
                if let first = networks.add(set) { twice(set.name, "set", first) }
            case .users(let set):
                if let first = users.add(set) { twice(set.name, "set", first) }
            case .commands(let set):
                if let first = commands.add(set) { twice(set.name, "set", first) }
            case .hours(let set):
                if let first = hours.add(set) { twice(set.name, "set", first) }
            case .sandbox(let syntax):
                gather(syntax)
            case .rule(let syntax):
                if let first = ruleNames.updateValue(syntax.name.span, forKey: syntax.name.value) {
                    twice(syntax.name, "rule", first)
                }
                rules.append(syntax)
            }
        }
    }

    private mutating func gather(_ syntax: SandboxSyntax) {
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

    private mutating func once(_ statement: Statement, _ what: String, _ seen: inout [String: Span]) {
        if let first = seen[what] {
            sink.error(statement.span, "'\(what)' stands twice; the first is at \(place(first))")
        } else {
            seen[what] = statement.span
        }
    }

    private mutating func twice(_ name: Located<String>, _ what: String, _ first: Span) {
        sink.error(name.span, "\(what) '\(name.value)' is defined twice; the first is at \(place(first))")
    }

    private func place(_ span: Span) -> FilePlace {
        FilePlace(file: sink.name(of: span), line: sink.line(of: span))
    }

    // MARK: Settings

    private mutating func checkSettings() {
        if let rexec = services[.rexec], let rsh = services[.rsh] {
            let shared = Set(rexec.settings.listeners).intersection(rsh.settings.listeners)
            if rexec.settings.isEnabled, rsh.settings.isEnabled, let both = shared.min(by: { $0.port < $1.port }) {
                sink.error(rsh.itemSpans["listen"] ?? rsh.nameSpan, "both services listen on \(both)")
            }
        }
        if let rsh = services[.rsh] {
            if !rsh.settings.requiresReservedSourcePort, let span = rsh.itemSpans["source-port"] {
                sink.warning(
                    span, "'source-port any' believes the remote user's name from any program of the other host")
            }
            if rsh.settings.names == .dns, let span = rsh.itemSpans["names"] {
                sink.warning(span, "'names dns' lets who answers for the DNS say whom trust files name")
            }
            if rsh.settings.isEnabled, !settings.secureTCPIP.allows(.rsh) {
                sink.warning(rsh.nameSpan, "service rsh stays off: securetcpip is on without 'except rsh'")
            }
        }
        for syntax in services.values where syntax.settings.sessionsPerSource > syntax.settings.sessions {
            guard let span = syntax.itemSpans["sessions"] else { continue }
            sink.warning(span, "'per-source' above the number of sessions is of no use")
        }
    }

    // MARK: Sets

    private mutating func resolveSets() {
        let networkSets = networks.ordered(&sink) { if case .set(let name) = $0 { name } else { nil } }
        for set in networkSets {
            var out: [AddressBlock] = []
            for item in set.items {
                switch item.value {
                case .block(let block): out.append(block)
                case .set(let name): out += blocks[name]?.items ?? []
                case .any: break
                }
            }
            guard count(out.count, set.name) else { return }
            blocks[set.name.value] = NamedSet(name: set.name.value, items: out)
        }
        let userSets = users.ordered(&sink) { if case .set(let name) = $0 { name } else { nil } }
        for set in userSets {
            var out = AccountSet()
            for item in set.items {
                switch item.value {
                case .name(let name): out.names.append(name)
                case .group(let group): out.groups.append(group)
                case .set(let name):
                    out.names += accounts[name]?.items.names ?? []
                    out.groups += accounts[name]?.items.groups ?? []
                case .any, .same: break
                }
            }
            guard count(out.names.count + out.groups.count, set.name) else { return }
            accounts[set.name.value] = NamedSet(name: set.name.value, items: out)
        }
        let commandSets = commands.ordered(&sink) { if case .set(let name) = $0 { name } else { nil } }
        for set in commandSets {
            var out: [CommandPattern] = []
            for item in set.items {
                switch item.value {
                case .pattern(let pattern): out.append(pattern)
                case .set(let name): out += patterns[name]?.items ?? []
                case .any, .shell: break
                }
            }
            guard count(out.count, set.name) else { return }
            patterns[set.name.value] = NamedSet(name: set.name.value, items: out)
        }
        let hoursSets = hours.ordered(&sink) { if case .set(let name) = $0 { name } else { nil } }
        for set in hoursSets {
            var out: [WeeklyRange] = []
            for item in set.items {
                switch item.value {
                case .range(let range): out.append(range)
                case .set(let name): out += ranges[name]?.items ?? []
                }
            }
            guard count(out.count, set.name) else { return }
            ranges[set.name.value] = NamedSet(name: set.name.value, items: out)
        }
    }

    private mutating func count(_ items: Int, _ name: Located<String>) -> Bool {
        resolvedCount += items
        guard resolvedCount <= Self.resolvedLimit else {
            sink.error(name.span, "the sets hold too much: at most 4,000,000 items with the sets that they name")
            return false
        }
        return true
    }

    /// Sets that nothing uses; a set that only an unused set names is itself unused.
    private mutating func warnOfUnusedSets() {
        networks.warnOfUnused(&sink) { if case .set(let name) = $0 { name } else { nil } }
        users.warnOfUnused(&sink) { if case .set(let name) = $0 { name } else { nil } }
        commands.warnOfUnused(&sink) { if case .set(let name) = $0 { name } else { nil } }
        hours.warnOfUnused(&sink) { if case .set(let name) = $0 { name } else { nil } }
    }

    /// Networks from which no listener can be called.
    private mutating func warnOfFamilies() {
        var families = Set<IPAddress.Family>()
        for service in Service.allCases where settings.serves(service) {
            for listener in settings[service].listeners { families.insert(listener.address.family) }
        }
        guard families.count == 1, let only = families.first else { return }
        let items = rules.filter { $0.effect == .permit }.flatMap { $0.sources ?? [] } + networks.usedItems
        for item in items {
            guard case .block(let block) = item.value, block.base.family != only else { continue }
            sink.warning(item.span, "nothing listens on \(only == .v4 ? "IPv6" : "IPv4"), so \(block) never calls")
        }
    }

    // MARK: Sandboxes

    private mutating func resolveSandboxes() {
        for name in sandboxOrder { define(name) }
        for name in sandboxOrder {
            guard let syntax = sandboxes[name], let definition = definitions[name] else { continue }
            let sandbox = definition.sandbox(named: name)
            table[name] = policy.sandboxes.count
            policy.sandboxes.append(sandbox)
            policy.sandboxPlaces.append(place(syntax.name.span))
            checkDirectories(sandbox, syntax)
        }
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

    private mutating func checkDirectories(_ sandbox: Sandbox, _ syntax: SandboxSyntax) {
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
    private mutating func sandbox(_ syntax: RuleSyntax) -> Int {
        let name = syntax.sandbox?.value ?? SandboxDefinition.defaultName
        let span = syntax.sandbox?.span ?? syntax.name.span
        let index: Int
        if let known = table[name] {
            index = known
        } else if let builtIn = SandboxDefinition.builtIn(name) {
            index = policy.sandboxes.count
            table[name] = index
            let sandbox = builtIn.sandbox(named: name)
            policy.sandboxes.append(sandbox)
            policy.sandboxPlaces.append(nil)
            if let finding = forbiddenDirectory(sandbox) { sink.error(span, "sandbox '\(name)' \(finding.text)") }
        } else {
            if sandboxes[name] == nil, let given = syntax.sandbox {
                unknown(given, "sandbox", Array(sandboxes.keys) + SandboxDefinition.builtInNames)
            }
            return 0
        }
        let sandbox = policy.sandboxes[index]
        if !sandbox.isConfined {
            sink.warning(span, "permit '\(syntax.name.value)' runs what it permits without Landlock ('\(name)')")
        }
        // What runs there could write its own .rhosts, and so choose who is trusted next.
        let readsRhosts = settings.serves(.rsh) && settings.rsh.trust == .rhosts
        if sandbox.writesHome, readsRhosts, !syntax.selfTrust {
            sink.error(
                span, "sandbox '\(name)' can write the target's home, and with it the .rhosts that service rsh trusts",
                hint: "end the rule in 'self-trust' if that is meant")
        }
        return index
    }

    private mutating func unknown(_ name: Located<String>, _ kind: String, _ candidates: [String]) {
        sink.error(
            name.span, "there is no \(kind) '\(name.value)'",
            hint: Suggestion.hint(name.value, among: candidates.sorted()))
    }

    // MARK: Rules

    private mutating func rule(_ syntax: RuleSyntax) -> Rule {
        var rule = Rule(
            name: syntax.name.value, place: place(syntax.name.span), effect: syntax.effect, services: syntax.services)
        rule.sources = syntax.sources.map { sources($0) }
        rule.remoteUsers = syntax.remoteUsers.map { remoteUsers($0) }
        rule.targets = syntax.targets.map { targets($0, syntax) }
        rule.commands = syntax.commands.map { commands($0) }
        rule.hours = syntax.hours.map { hours($0) }
        if syntax.effect == .permit {
            rule.sandbox = sandbox(syntax)
            rule.selfTrust = syntax.selfTrust
        }
        return rule
    }

    private mutating func sources(_ items: [Located<NetworkItem>]) -> Sources {
        var out = Sources()
        for item in items {
            switch item.value {
            case .any: out.isAny = true
            case .block(let block): out.literal.append(block)
            case .set(let name):
                guard networks.use(name) else {
                    unknownSet(name, item.span, networks)
                    continue
                }
                if let set = blocks[name] { out.sets.append(set) }
            }
        }
        return out
    }

    private mutating func remoteUsers(_ items: [Located<UserItem>]) -> RemoteUsers {
        var out = RemoteUsers()
        for item in items {
            switch item.value {
            case .any: out.isAny = true
            case .name(let name): out.literal.append(name)
            case .group, .same: break
            case .set(let name):
                guard users.use(name) else {
                    unknownSet(name, item.span, users)
                    continue
                }
                guard let set = accounts[name] else { continue }
                if let group = set.items.groups.first {
                    sink.error(
                        item.span, "@\(name) holds %\(group), and a group says nothing of a remote user")
                }
                out.sets.append(set)
            }
        }
        return out
    }

    private mutating func targets(_ items: [Located<UserItem>], _ syntax: RuleSyntax) -> Targets {
        var out = Targets()
        for item in items {
            switch item.value {
            case .any:
                out.isAny = true
                if syntax.effect == .permit, syntax.services.contains(.rsh), services[.rsh]?.settings.trust == .rule {
                    sink.error(
                        item.span, "with 'trust rule' this permit alone is the trust, so it names its targets")
                }
            case .same: out.isSame = true
            case .name(let name): out.literal.names.append(name)
            case .group(let group):
                out.literal.groups.append(group)
                warnOfGroup(group, item.span, syntax)
            case .set(let name):
                guard users.use(name) else {
                    unknownSet(name, item.span, users)
                    continue
                }
                guard let set = accounts[name] else { continue }
                if let group = set.items.groups.first { warnOfGroup(group, item.span, syntax) }
                if syntax.effect == .permit, set.items.names.contains(.root) {
                    sink.warning(item.span, "root in @\(name) permits nothing: only the name 'root' in the rule does")
                }
                out.sets.append(set)
            }
        }
        return out
    }

    private mutating func warnOfGroup(_ group: ByteText, _ span: Span, _ syntax: RuleSyntax) {
        guard syntax.effect == .forbid else { return }
        sink.warning(span, "a directory that does not answer hides who is in %\(group), and the forbid misses them")
    }

    private mutating func commands(_ items: [Located<CommandItem>]) -> Commands {
        var out = Commands()
        for item in items {
            switch item.value {
            case .any: out.isAny = true
            case .shell: out.isShell = true
            case .pattern(let pattern): out.literal.append(pattern)
            case .set(let name):
                guard commands.use(name) else {
                    unknownSet(name, item.span, commands)
                    continue
                }
                if let set = patterns[name] { out.sets.append(set) }
            }
        }
        return out
    }

    private mutating func hours(_ items: [Located<HoursItem>]) -> Hours {
        var out = Hours([])
        for item in items {
            switch item.value {
            case .range(let range): out.literal.append(range)
            case .set(let name):
                guard hours.use(name) else {
                    unknownSet(name, item.span, hours)
                    continue
                }
                if let set = ranges[name] { out.sets.append(set) }
            }
        }
        return out
    }

    private mutating func unknownSet<Item>(_ name: String, _ span: Span, _ table: SetTable<Item>) {
        let hint: String?
        if let near = Suggestion.nearest(to: name, among: table.names) {
            hint = "did you mean @\(near)?"
        } else {
            let others = [networks.kind: networks.names, users.kind: users.names, commands.kind: commands.names]
            hint = others.first { $0.key != table.kind && $0.value.contains(name) }.map {
                "@\(name) is a set of \($0.key), not of \(table.kind)"
            }
        }
        sink.error(span, "there is no set '\(name)' of \(table.kind)", hint: hint)
    }
}

/// How far a set's order has been worked out.
private enum SetState { case waiting, open, done }

/// The sets of one kind.
struct SetTable<Item: Sendable> {
    let kind: String
    private var sets: [SetSyntax<Item>] = []
    private var indexes: [String: Int] = [:]
    private var used = Set<String>()

    init(kind: String) {
        self.kind = kind
    }

    /// Takes a set in; gives the place of an earlier one of its name.
    mutating func add(_ set: SetSyntax<Item>) -> Span? {
        if let first = indexes[set.name.value] { return sets[first].name.span }
        indexes[set.name.value] = sets.count
        sets.append(set)
        return nil
    }

    /// The names, sorted.
    var names: [String] { indexes.keys.sorted() }

    /// Notes that a rule uses a set; false where there is none.
    mutating func use(_ name: String) -> Bool {
        guard indexes[name] != nil else { return false }
        used.insert(name)
        return true
    }

    /// The items of the sets that rules use themselves.
    var usedItems: [Located<Item>] {
        sets.filter { used.contains($0.name.value) }.flatMap(\.items)
    }

    /// The sets in an order in which each comes after those that it names; without those that name themselves.
    func ordered(_ sink: inout DiagnosticSink, _ named: (Item) -> String?) -> [SetSyntax<Item>] {
        var states = Array(repeating: SetState.waiting, count: sets.count)
        var out: [SetSyntax<Item>] = []
        for start in sets.indices where states[start] == .waiting {
            // A stack of our own: a chain of sets is as long as its file.
            var stack: [(set: Int, item: Int)] = [(start, 0)]
            states[start] = .open
            while let top = stack.last {
                let set = sets[top.set]
                guard top.item < set.items.count else {
                    states[top.set] = .done
                    out.append(set)
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].item += 1
                let item = set.items[top.item]
                guard let name = named(item.value) else { continue }
                guard let next = indexes[name] else {
                    let near = Suggestion.nearest(to: name, among: names)
                    sink.error(
                        item.span, "there is no set '\(name)' of \(kind)", hint: near.map { "did you mean @\($0)?" })
                    continue
                }
                switch states[next] {
                case .done: break
                case .open: sink.error(item.span, "set '\(name)' holds itself")
                case .waiting:
                    states[next] = .open
                    stack.append((next, 0))
                }
            }
        }
        return out
    }

    /// Warns of each set that no rule uses, itself or through other sets.
    func warnOfUnused(_ sink: inout DiagnosticSink, _ named: (Item) -> String?) {
        var reached = used
        var waiting = Array(used)
        while let name = waiting.popLast() {
            guard let index = indexes[name] else { continue }
            for item in sets[index].items {
                if let next = named(item.value), reached.insert(next).inserted { waiting.append(next) }
            }
        }
        for set in sets where !reached.contains(set.name.value) {
            sink.warning(set.name.span, "no rule uses set '\(set.name.value)'")
        }
    }
}
