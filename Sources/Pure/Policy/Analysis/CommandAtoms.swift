// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension PolicyAnalysis {
    /// The least commands that every rule of `matching` matches.
    ///
    /// Where no pattern binds the words, a program that no rule names is matched by the fewest; where patterns do, the
    /// least commands of what they have in common are.
    mutating func commandAtoms(
        _ matching: [Rule], _ avoiding: [Rule], _ alive: AvoidedRules
    ) throws(WorkLimitReached) -> [Atom<RequestedCommand>] {
        let binding = matching.compactMap { rule in
            rule.commands.flatMap { $0.takesEveryWords(as: rule.effect) ? nil : $0 }
        }
        let names = try namesInPatterns(alive.members.map { avoiding[$0] })
        var candidates: [RequestedCommand] = []
        if binding.isEmpty {
            let program =
                scope.isRemoteCopyOnly
                ? Self.remoteCopy(apartFrom: names.programs)
                : ByteText.fresh("/usr/bin/program", apartFrom: names.programs)
            candidates.append(.words([program], program: .init(path: program, resolvedPath: program)))
        }
        for pattern in try meet(binding) { candidates += pattern.leastCommands(apartFrom: names.arguments) }
        candidates +=
            scope.isRemoteCopyOnly
            ? [.needsShell(firstWord: "rcp"), .words(["./rcp"], program: nil)]
            : [.needsShell(firstWord: "id"), .words(["./program"], program: nil)]

        var request = Self.blank
        var atoms: [Atom<RequestedCommand>] = []
        let rules = alive.members
        for candidate in candidates where scope.contains(candidate) {
            request.command = candidate
            guard matching.allSatisfy({ $0.matches(request, .run) }) else { continue }
            var matched = AvoidedRules(noneOf: avoiding.count)
            for index in rules {
                try step(1 + (avoiding[index].commands?.count ?? 0))
                if avoiding[index].matches(request, .run) { matched.insert(index) }
            }
            if matched.isEmpty { return [Atom(value: candidate, matched: matched)] }
            atoms.append(Atom(value: candidate, matched: matched))
        }
        return try least(atoms)
    }

    /// An rcp that is none of some programs.
    private static func remoteCopy(apartFrom programs: Set<ByteText>) -> ByteText {
        var directory: ByteText = "/usr/bin"
        var number = 0
        while true {
            let program = ByteText(directory.bytes + Array("/rcp".utf8))
            if !programs.contains(program) { return program }
            number += 1
            directory = ByteText("/usr/lib\(number)")
        }
    }

    /// What patterns of all the clauses have in common.
    private mutating func meet(_ clauses: [Commands]) throws(WorkLimitReached) -> [CommandPattern] {
        guard let first = clauses.first else { return [] }
        var met = Array(first.patterns)
        for clause in clauses.dropFirst() where clause != first {
            var next: [CommandPattern] = []
            let patterns = Dictionary(grouping: clause.patterns, by: \.program)
            try step(clause.count)
            for pattern in met {
                for other in patterns[pattern.program] ?? [] {
                    try step(1 + min(pattern.arguments.count, other.arguments.count))
                    if let both = pattern.meet(other) { next.append(both) }
                }
            }
            met = next
        }
        return met
    }

    /// The programs of all patterns, and what their arguments say: literals, and the directories of paths, as a path
    /// matches its directory itself.
    private mutating func namesInPatterns(
        _ rules: [Rule]
    ) throws(WorkLimitReached) -> (programs: Set<ByteText>, arguments: Set<ByteText>) {
        var programs: Set<ByteText> = []
        var taken: Set<ByteText> = []
        for commands in Set(rules.compactMap(\.commands)) {
            for pattern in commands.patterns {
                try step(1 + pattern.arguments.count)
                programs.insert(pattern.program)
                for argument in pattern.arguments {
                    switch argument {
                    case .literal(let said), .path(let said): taken.insert(said)
                    case .integer, .word: break
                    }
                }
            }
        }
        return (programs, taken)
    }

    /// A request whose clauses are put in one by one.
    static let blank = Request(
        service: .rexec, source: IPAddress(v4: 0), sourcePort: 1_023, remoteUser: nil,
        target: Account(name: .root, uid: 0, groups: [], isSystem: false), command: .needsShell(firstWord: nil),
        time: LocalTime.weekStart)
}

extension Commands {
    /// How many patterns there are.
    var count: Int { sets.reduce(literal.count) { $0 + $1.items.count } }

    /// Whether any words of a program that was found are matched.
    func takesEveryWords(as effect: Effect) -> Bool {
        switch effect {
        case .permit: isAny || isShell
        case .forbid: isAny
        }
    }
}
