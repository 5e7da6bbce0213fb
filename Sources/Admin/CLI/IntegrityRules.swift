// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The rules of AIDE's settings (aide.conf(5)) as far as they name single files with cryptographic sums.
struct IntegrityRules {
    /// The paths that have a line with a sum.
    private var summed: Set<String> = []
    /// What is left out, whichever line comes first: each is a regular expression that begins where a path begins.
    private var excluded: [String] = []

    /// Takes a line in; a comment, a macro or a definition says nothing.
    mutating func take(_ line: String) {
        var words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" || $0 == "\r" }
        guard let first = words.first else { return }
        if first.hasPrefix("!") || first.hasPrefix("-") {
            words[0] = first.dropFirst()
            if let pattern = words.first(where: { !$0.isEmpty }) { excluded.append(String(pattern)) }
        } else if words.count > 1, first.hasPrefix("/"), Self.hasSum(words[1]) {
            summed.insert(String(first))
        }
    }

    /// Whether attributes such as `p+i+sha512` have a sum that none of them takes away.
    private static func hasSum(_ attributes: Substring) -> Bool {
        attributes.contains("sha") && !attributes.contains("-sha")
    }

    /// Whether a file that is known by these paths has a line with a sum, and no line that leaves it out.
    func guards(_ paths: [String]) -> Bool {
        paths.contains(where: summed.contains)
            && !excluded.contains { pattern in paths.contains { Self.excludes(pattern, $0) } }
    }

    private static func excludes(_ pattern: String, _ path: String) -> Bool {
        if path == pattern || path.hasPrefix(pattern.hasSuffix("/") ? pattern : pattern + "/") { return true }
        // An expression that is not understood leaves out whatever begins as it does.
        guard let expression = try? Regex(pattern) else {
            return path.hasPrefix(pattern.prefix { $0.isLetter || $0.isNumber || $0 == "/" })
        }
        return path.prefixMatch(of: expression) != nil
    }
}
