// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A policy, made ready to decide in a time that does not grow with it.
///
/// It agrees with `Policy.decide(_:)` on every request. Rules are numbered as they are written, forbids before permits.
/// For each clause the index knows which sets of rules a request satisfies; the first rule that is in every clause's
/// union is the one that decides: a forbid if any matches, else the first permit. It keeps nothing of the policy but
/// what is looked up, and the rules' names and places. It is an object, as its many arrays would be counted one by one
/// whenever a value of it were taken out of another's.
public final class PolicyIndex: Sendable {
    private let served: [Service]
    private let permitsRemoteCopy: Bool
    private let forbidCount: Int
    private let rules: [DecidingRule]
    private let files: [String]

    private let sets: RuleSets
    private let rexec: RuleSet?
    private let rsh: RuleSet?
    private let addresses: AddressIndex
    private let accounts: AccountIndex
    private let commands: CommandIndex
    private let hours: HourIndex

    /// What of a rule stands in a decision.
    private struct DecidingRule: Sendable {
        let name: String
        let line: UInt32
        let file: UInt32
        let sandbox: UInt32
        let permitsShell: Bool
        let selfTrust: Bool
        let namesRoot: Bool
    }

    /// Makes the index of a policy.
    public convenience init(_ policy: Policy) {
        self.init(policy, unionAllowance: RuleSets.unionAllowance)
    }

    /// Makes the index of a policy with unions of so many bytes, which make no difference to a decision.
    init(_ policy: Policy, unionAllowance: Int) {
        let numbered = NumberedRules(policy.rules)
        forbidCount = numbered.forbidCount
        served = Service.allCases.filter(policy.settings.serves)
        permitsRemoteCopy = policy.settings.secureTCPIP.allows(.rcp)

        var sets = RuleSets(ruleCount: numbered.count, allowance: unionAllowance)
        let ofService = { (service: Service) in
            numbered.numbers.lazy.filter { policy.rules[$0.1].services.contains(service) }.map { $0.0 }
        }
        rexec = sets.insert(ofService(.rexec))
        rsh = sets.insert(ofService(.rsh))
        addresses = AddressIndex(numbered, &sets)
        accounts = AccountIndex(numbered, &sets)
        commands = CommandIndex(numbered, &sets)
        hours = HourIndex(numbered, &sets)
        self.sets = sets

        var files: [String] = []
        var numbers: [String: UInt32] = [:]
        var rootPermits = accounts.rootPermits[...]
        rules = numbered.numbers.map { number, place in
            let namesRoot = rootPermits.first == number
            if namesRoot { rootPermits.removeFirst() }
            let standing = policy.rules[place].place
            if files.last != standing.file, numbers[standing.file] == nil {
                numbers[standing.file] = UInt32(files.count)
                files.append(standing.file)
            }
            return DecidingRule(
                name: policy.rules[place].name, line: UInt32(standing.line), file: numbers[standing.file] ?? 0,
                sandbox: UInt32(policy.rules[place].sandbox),
                permitsShell: policy.rules[place].commands?.isShell ?? false,
                selfTrust: policy.rules[place].selfTrust,
                namesRoot: namesRoot)
        }
        self.files = files
    }

    /// Decides a request as the policy's own scan does.
    public func decide(_ request: Request) -> Decision {
        decide(request, .cheaper)
    }

    /// Decides by one method of intersection, which makes no difference to the decision.
    func decide(_ request: Request, _ method: RuleSearch.Method) -> Decision {
        guard served.contains(request.service), permitsRemoteCopy || !request.command.isRemoteCopy else {
            return .deny(Denial(reason: .serviceDisabled))
        }
        var search = RuleSearch()
        search.add(request.service == .rexec ? rexec : rsh, of: sets)
        search.endClause()
        addresses.tell(request.source, &search, sets)
        if !search.isHopeless { accounts.tell(request, &search, sets) }
        if !search.isHopeless { hours.tell(request.time, &search, sets) }
        let matches =
            search.isHopeless ? CommandIndex.Matches() : commands.tell(request, &search, sets)
        guard let number = search.first(of: sets, method) else {
            return .deny(Denial(reason: Policy.reasonWithoutPermit(request.command)))
        }
        let rule = rules[number]
        let reference = RuleReference(
            name: rule.name, place: FilePlace(file: files[Int(rule.file)], line: Int(rule.line)))
        if number < forbidCount { return .deny(Denial(reason: .forbidden, rule: reference)) }
        return .permit(
            Terms(
                rule: reference, sandbox: Int(rule.sandbox),
                usesShell: rule.permitsShell && !commands.permitsWords(number, matches, sets),
                selfTrust: rule.selfTrust, namesRoot: rule.namesRoot))
    }
}
