// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// File name patterns of includes: `*` and `?` within a component, and nothing else.
public enum FileNamePattern {
    /// The most names that a pattern may give, of files and of directories on the way.
    public static let limit = 4_096

    /// Whether a pattern can name other files than itself.
    public static func isGlob(_ pattern: String) -> Bool {
        pattern.utf8.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") }
    }

    /// Whether a name matches one component of a pattern, in time proportional to the product of the lengths.
    public static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var pattern = pattern[...]
        var name = name[...]
        var retry: (pattern: ArraySlice<UInt8>, name: ArraySlice<UInt8>)?
        while !name.isEmpty || !pattern.isEmpty {
            if pattern.first == UInt8(ascii: "*") {
                pattern = pattern.dropFirst()
                retry = name.isEmpty ? nil : (pattern, name.dropFirst())
            } else if let wanted = pattern.first, let have = name.first,
                wanted == UInt8(ascii: "?") || wanted == have
            {
                pattern = pattern.dropFirst()
                name = name.dropFirst()
            } else {
                guard let again = retry else { return false }
                pattern = again.pattern
                name = again.name
                retry = name.isEmpty ? nil : (pattern, name.dropFirst())
            }
        }
        return true
    }

    /// The paths that a pattern's components name below a directory, in byte order.
    ///
    /// A component without wildcards names itself whether it exists or not, so that the caller can say that it does
    /// not. A name with a dot in front, or one that is not UTF-8, matches only a pattern that says so.
    ///
    /// - Parameters:
    ///   - parts: the pattern's components.
    ///   - start: the directory, without a last slash unless it is the root.
    ///   - names: lists a directory.
    ///   - isDirectory: whether a path is a directory.
    /// - Returns: the paths; nil where there are more than `limit`, of which none may be left out unseen.
    public static func expand(
        _ parts: [String], below start: String, names: (String) -> [ByteText], isDirectory: (String) -> Bool
    ) -> [String]? {
        var paths = [start]
        for (index, part) in parts.enumerated() {
            let pattern = Array(part.utf8)
            var next: [String] = []
            for path in paths {
                let prefix = path == "/" ? "/" : path + "/"
                guard isGlob(part) else {
                    next.append(prefix + part)
                    continue
                }
                for name in names(path) where matches(pattern, name.bytes) {
                    guard name.bytes.first != UInt8(ascii: ".") || part.hasPrefix("."), let text = name.text else {
                        continue
                    }
                    guard index == parts.count - 1 || isDirectory(prefix + text) else { continue }
                    guard next.count < limit else { return nil }
                    next.append(prefix + text)
                }
            }
            paths = next
        }
        return paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
