# SPDX-License-Identifier: GPL-3.0-or-later
"""AnsibleModule plus the one thing that it cannot know: a kubeconfig given as a dictionary holds secrets."""

from __future__ import annotations

from typing import Any

from ansible.module_utils import basic

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import kubeconfig_secrets


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc]
    """Masks individual values inside the kubeconfig before anything is logged or returned."""

    params: dict[str, Any]
    check_mode: bool
    no_log_values: set[str]

    def _log_invocation(self) -> None:
        """Called by Ansible once the parameters are known; what it writes goes to the syslog."""
        self.no_log_values.update(kubeconfig_secrets(self.params))
        super()._log_invocation()
