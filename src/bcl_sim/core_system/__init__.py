"""A synthetic core business system (基幹業務システム): a town that lives and writes linkage files.

Entry points: `bcl_sim.core_system.town.Town`, the commands `bcl core …`.
"""
