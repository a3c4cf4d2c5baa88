"""Selection of the device."""

import paddle

from ernie_from_scratch.config import UserError


def select_device(device: str) -> None:
    """Set Paddle's device: cpu, gpu, gpu:N, or a kind that this Paddle has a plug-in for.

    Raises:
        UserError: it isn't there; nothing falls back to another device by itself.
    """
    check_gpu(device, flag=f"--device {device}")
    try:
        paddle.set_device(device)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--device {device}: {error}; use --device cpu, gpu or gpu:N") from error


def check_gpu(device: str, flag: str) -> None:
    """UserError, which starts with the `flag` that named it, when `device` is a GPU that this machine lacks."""
    kind, _, number = device.partition(":")
    if kind != "gpu":
        return
    if not paddle.device.is_compiled_with_cuda():
        raise UserError(
            f"{flag}: this Paddle has no GPU support; use --device cpu, or install Paddle for GPUs "
            "(the GPU line in environment.yml)"
        )
    count = paddle.device.cuda.device_count()
    if not count or (number.isdigit() and int(number) >= count):
        raise UserError(f"{flag}: this machine shows {count} GPUs; use --device cpu, or a GPU it has")
