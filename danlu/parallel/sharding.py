"""Weights in parts over ranks, gathered block by block when they are needed: torch's FSDP2.

ZeRO stage 3 (Rajbhandari et al. 2020, arXiv:1910.02054). Gradients come back summed over the ranks, not averaged,
each rank with its own part, float32.
"""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from danlu.nn.transformer import Transformer


def shard(model: Transformer, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Share the weights of ``model`` over the ranks of a mesh of one axis; it then computes in ``dtype``.

    Embedding, head and what else stands outside of blocks stay gathered from the forward pass to the end of the
    backward pass, so that the loss can be taken from ``model.head`` outside of ``model.forward``.
    """
    # What is passed from block to block has its type already, and the tables of positions keep theirs.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    if dtype == torch.float32:
        policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    for module in (*model.blocks, model):
        fully_shard(module, mesh=mesh, mp_policy=policy)
    if model.decoder is not None:  # else forward calls it, and what both gather the inner one would let go too early
        register_fsdp_forward_method(model, "encode")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo cannot divide on the way
