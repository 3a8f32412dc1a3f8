# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the module of this name the collection's one action plugin; both are loaded before workers are forked."""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils import _page
from ansible_collections.alauda.image_registry.plugins.modules import registry
from ansible_collections.alauda.image_registry.plugins.plugin_utils._in_controller import ModuleAction

for _name in _page.PARTS:
    _page.part(_name)


class ActionModule(ModuleAction):
    """One task of the module."""

    module = registry
