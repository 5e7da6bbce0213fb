// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import CLI

Portcullis.start()
