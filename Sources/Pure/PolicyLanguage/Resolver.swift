// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Turns statements into a policy: names become what they name.
///
/// It takes statements one at a time, as they are read, and keeps of each rule only the rule and what waits for the
/// rest of the policy: a policy of a hundred thousand rules is never held as syntax.
struct Resolver {
    /// The most items of all sets together, with the sets that they name written out.
    static let resolvedLimit = 4_000_000
    /// The most sandboxes.
    static let sandboxLimit = 1_024

    let directories: GuardedDirectories
    let sink: DiagnosticSink

    var policy = Policy()
    var settings = Settings()
    var services: [Service: ServiceSyntax] = [:]
    /// Where the statements that stand at most once stand.
    private var statementPlaces: [String: Span] = [:]

    var networks = SetTable<NetworkItem, [AddressBlock]>(kind: "networks")
    var users = SetTable<UserItem, AccountSet>(kind: "users")
    var commands = SetTable<CommandItem, [CommandPattern]>(kind: "commands")
    var hours = SetTable<HoursItem, [WeeklyRange]>(kind: "hours")
    var resolvedCount = 0
    /// Of each pool where its name stands, and of each account in which pool it is.
    var poolPlaces: [String: Span] = [:]
    var pooledAccounts: [UserName: String] = [:]
    /// The pools that permits name.
    var poolReferences: [Located<String>] = []

    var sandboxes: [String: SandboxSyntax] = [:]
    var sandboxOrder: [String] = []
    var definitions: [String: SandboxDefinition] = [:]
    /// The sandboxes that are in the policy's table.
    var table: [String: SandboxEntry] = [:]
    /// The last that a permit was found to have.
    var lastSandbox: (name: String, entry: SandboxEntry)?

    /// Of each rule what is looked at again.
    var notes: [RuleNote] = []
    /// The rules by their names: of each name the first that has it.
    var ruleNames = HashSlots()
    private(set) var namedRules: [Int32] = []
    private let nameHash = KeyHash()
    /// The sets that rules name, rule after rule.
    var references: [SetReference] = []
    /// Where the blocks that permits name themselves stand, one after another.
    var blockPlaces: [Span] = []
    /// Where `as any` stands in permits that cover rsh.
    var openTargets: [Span] = []

    init(directories: GuardedDirectories, sink: DiagnosticSink) {
        self.directories = directories
        self.sink = sink
    }

    /// The bytes that a rule has at least, about: of shorter ones more room has to be found.
    private static let ruleSize = 96

    /// Makes room for what a file of so many bytes can hold, so that little is moved when it comes.
    mutating func expect(bytes count: Int) {
        let rules = policy.rules.count + count / Self.ruleSize
        policy.rules.reserveCapacity(rules)
        notes.reserveCapacity(rules)
        namedRules.reserveCapacity(rules)
        // It has no keys yet where this is the first file.
        if ruleNames.count == 0 { ruleNames = HashSlots(expecting: rules) }
    }

    /// Takes the name of a rule, which comes next; the rule that has it already, if one has.
    mutating func name(rule index: Int32, _ name: String) -> Int32? {
        let hash = nameHash.hash(name.utf8.span)
        let known = ruleNames.number(hash) { policy.rules[Int(namedRules[$0])].name == name }
        if let known { return namedRules[known] }
        ruleNames.insert(hash)
        namedRules.append(index)
        return nil
    }

    /// Gives back what only the reading of rules needed.
    mutating func forgetNames() {
        ruleNames = HashSlots()
        namedRules = []
    }

    /// Takes the next statement in; a rule has a way of its own.
    mutating func take(_ payload: consuming Statement.Payload, at place: Span) {
        switch payload {
        case .version, .include, .rule, .broken:
            break
        case .secureTCPIP(let value):
            once(place, "securetcpip")
            settings.secureTCPIP = value
        case .service(let syntax):
            once(place, "service \(syntax.settings.service.name)")
            settings[syntax.settings.service] = syntax.settings
            services[syntax.settings.service] = syntax
        case .refusal(let value):
            once(place, "refusal")
            settings.refusal = value
        case .audit(let value):
            once(place, "audit")
            settings.audit = value
        case .searchPath(let value):
            once(place, "search-path")
            settings.searchPath = value
        case .networks(let set):
            if let first = networks.add(set) { twice(set.name, "set", first) }
        case .users(let set):
            if let first = users.add(set) { twice(set.name, "set", first) }
        case .commands(let set):
            if let first = commands.add(set) { twice(set.name, "set", first) }
        case .hours(let set):
            if let first = hours.add(set) { twice(set.name, "set", first) }
        case .pool(let set):
            takePool(set)
        case .sandbox(let syntax):
            take(syntax)
        }
    }

    /// Resolves what all statements together say.
    ///
    /// - Parameters:
    ///   - analyses: whether to look for warnings that compare rules with each other.
    ///   - limit: with more rules than this they are not compared.
    mutating func resolve(analyses: Bool, limit: Int) -> Policy {
        policy.settings = settings
        checkSettings()
        resolveSets()
        resolveSandboxes()
        resolveRules()
        // What seems of no use beside an error may be what the error hides.
        guard sink.errorCount == 0 else { return policy }
        warnOfUnusedSets()
        warnOfPools()
        warnOfFamilies()
        analyse(comparing: analyses, limit: limit)
        return policy
    }

    private func analyse(comparing: Bool, limit: Int) {
        let spans = notes.map(\.name)
        var analyst = Analyst(policy: policy, spans: spans, sink: sink)
        analyst.compareWithSettings()
        guard comparing else { return }
        guard policy.rules.count <= limit else {
            if let first = spans.first {
                sink.warning(
                    first, "the rules are not compared with each other here: there are over \(limit)",
                    hint: "portcullis check compares them")
            }
            return
        }
        analyst.compareRules()
    }

    private mutating func once(_ span: Span, _ what: String) {
        if let first = statementPlaces[what] {
            sink.error(span, "'\(what)' stands twice; the first is at \(place(first))")
        } else {
            statementPlaces[what] = span
        }
    }

    func twice(_ name: Located<String>, _ what: String, _ first: Span) {
        sink.error(name.span, "\(what) '\(name.value)' is defined twice; the first is at \(place(first))")
    }

    func place(_ span: Span) -> FilePlace {
        FilePlace(file: sink.name(of: span), line: sink.line(of: span))
    }

    func unknown(_ name: Located<String>, _ kind: String, _ candidates: [String]) {
        sink.error(
            name.span, "there is no \(kind) '\(name.value)'",
            hint: Suggestion.hint(name.value, among: candidates.sorted()))
    }

    // MARK: Settings

    private func checkSettings() {
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
            checkPasswordField(rsh)
            if rsh.settings.isEnabled, !settings.secureTCPIP.allows(.rsh) {
                sink.warning(rsh.nameSpan, "service rsh stays off: securetcpip is on without 'except rsh'")
            } else if rsh.settings.isEnabled, rsh.settings.trust == .rhosts, !settings.readsHostTrust,
                let span = rsh.itemSpans["trust"]
            {
                sink.warning(
                    span, "'trust rhosts' reads no file: securetcpip is on without 'except rhosts'",
                    hint: "write securetcpip on except rsh, rhosts; trust rule needs no file")
            }
        }
        for syntax in services.values where syntax.settings.sessionsPerSource > syntax.settings.sessions {
            guard let span = syntax.itemSpans["sessions"] else { continue }
            sink.warning(span, "'per-source' above the number of sessions is of no use")
        }
    }

    /// RSH has no authenticator of its own: who takes passwords says who checks them.
    private func checkPasswordField(_ rsh: ServiceSyntax) {
        let authenticator = rsh.itemSpans["authenticate"]
        if rsh.settings.takesPasswordField {
            guard authenticator == nil else { return }
            sink.error(
                rsh.itemSpans["password-field"] ?? rsh.nameSpan,
                "'password-field on' needs an 'authenticate' beside it",
                hint: "authenticate pam \"portcullis-rexec\", or file \"credentials\"")
        } else if let authenticator {
            sink.warning(authenticator, "'authenticate' is of no use in service rsh without 'password-field on'")
        }
    }
}
