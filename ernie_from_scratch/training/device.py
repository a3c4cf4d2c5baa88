"""Where a run computes."""

import paddle

from ernie_from_scratch.config import UserError


def select_device(device):
    """Set Paddle's device: cpu, gpu, gpu:N, or a kind that this Paddle has a plug-in for.

    Raises:
        UserError: it isn't there; nothing falls back to another device by itself.
    """
    kind, _, number = device.partition(":")
    if kind == "gpu":
        if not paddle.device.is_compiled_with_cuda():
            raise UserError(
                f"--device {device}: this Paddle has no GPU support; use --device cpu, or install Paddle for GPUs "
                "(the GPU line in environment.yml)"
            )
        count = paddle.device.cuda.device_count()
        if not count or (number.isdigit() and int(number) >= count):
            raise UserError(
                f"--device {device}: this machine shows {count} GPUs; use --device cpu, or a GPU it has"
            )
    try:
        paddle.set_device(device)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--device {device}: {error}; use --device cpu, gpu or gpu:N") from error
