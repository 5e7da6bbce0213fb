// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Crypto

/// SHA-256, for the chain.
@Sendable func sha256(_ bytes: [UInt8]) -> [UInt8] {
    Array(SHA256.hash(data: bytes))
}
