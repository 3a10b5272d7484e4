"""Optimizers by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
OPTIMIZERS = Registry(
    "optim",
    {
        "gd": Entry("d2lcli.optim.sgd:gd", "Gradient descent: sgd on the gradient of all examples", full_batch=True, source="d2l 12.3"),
        "sgd": Entry("d2lcli.optim.sgd:sgd", "Stochastic gradient descent: w - lr g", source="d2l 12.4"),
        "momentum": Entry("d2lcli.optim.sgd:momentum", "SGD with momentum, heavy-ball or Nesterov", source="d2l 12.6"),
        "nesterov": Entry("d2lcli.optim.sgd:nesterov", "SGD with momentum that looks one step ahead", source="Nesterov, 1983"),
        "adagrad": Entry("d2lcli.optim.adagrad:adagrad", "AdaGrad: rates fall with the sum of squared gradients", source="Duchi et al., 2011"),
        "rmsprop": Entry("d2lcli.optim.rmsprop:rmsprop", "RMSProp: rates by the running mean of squared gradients", source="Tieleman and Hinton, 2012"),
        "adadelta": Entry("d2lcli.optim.adadelta:adadelta", "Adadelta: steps by the size of earlier steps", source="Zeiler, 2012"),
        "adam": Entry("d2lcli.optim.adam:adam", "Adam: bias-corrected first and second moments", source="Kingma and Ba, 2015"),
        "adam_l2": Entry("d2lcli.optim.adam:adam_l2", "Adam on the loss with an L2 penalty, the coupled form", source="Kingma and Ba, 2015"),
        "adamw": Entry("d2lcli.optim.adam:adamw", "Adam with decoupled weight decay", source="Loshchilov and Hutter, 2019"),
        "yogi": Entry("d2lcli.optim.yogi:yogi", "Yogi: Adam whose second moment forgets slowly", source="Zaheer et al., 2018"),
        "lbfgs": Entry("d2lcli.optim.lbfgs:lbfgs", "L-BFGS: curvature from the last steps, and a line search", full_batch=True, source="Liu and Nocedal, 1989"),
        "newton": Entry("d2lcli.optim.newton:newton", "Newton's method, exact Hessian; small problems", full_batch=True, source="d2l 12.3"),
        "preconditioned_gd": Entry("d2lcli.optim.newton:preconditioned_gd", "Gradient over the Hessian's diagonal; small problems", full_batch=True, source="d2l 12.3"),
        "normal_equation": Entry("d2lcli.optim.newton:normal_equation", "Linear least squares in closed form", full_batch=True, source="d2l 3.1"),
    },
)
