"""Names: what the double has of CuPy's functions."""


def words(text):
    """The words of a text."""
    return tuple(text.split())


UFUNCS = words("""
    abs absolute add arctan arctan2 ceil copysign cos cosh divide divmod equal exp exp2 expm1 fabs floor
    floor_divide fmax
    fmin fmod greater greater_equal hypot invert isfinite isinf isnan ldexp left_shift less less_equal log log10
    log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum mod multiply negative
    nextafter not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square
    subtract tan tanh true_divide trunc bitwise_and bitwise_or bitwise_xor bitwise_not
""")
FUNCTIONS = words("""
    all allclose amax amin any argmax argmin argsort around array_equal array_split atleast_1d atleast_2d
    broadcast_arrays broadcast_to clip column_stack concatenate count_nonzero cumprod cumsum diag diagonal diff dot
    dstack einsum expand_dims eye flip flipud fliplr hstack identity inner isclose linspace matmul max
    may_share_memory mean meshgrid min moveaxis nan_to_num nanmax nanmin nansum ndim ogrid outer pad permute_dims
    prod ravel repeat reshape result_type roll rollaxis rot90 round searchsorted shape shares_memory size sort split
    squeeze stack std sum swapaxes take take_along_axis tensordot tile trace transpose tril triu unravel_index var
    vdot vstack where indices arange empty full ones zeros logspace tri
""")
LIKE = words("empty_like full_like ones_like zeros_like")
PRODUCTS = words("dot einsum inner matmul tensordot vdot")  # cuBLAS computes them
WAITING = words("argwhere flatnonzero nonzero unique extract compress")  # their results' shapes are in the numbers
UNCERTAIN = words("add subtract maximum minimum bitwise_and bitwise_or bitwise_xor")  # they have `.at`
METHODS = words("""
    all any argmax argmin argsort clip cumprod cumsum dot max mean min prod round std sum take trace var repeat
    searchsorted
""")
SAME = words("""
    bool_ complex64 dtype e euler_gamma finfo float16 float32 float64 iinfo inf int16 int32 int64 int8 intp nan
    newaxis pi uint uint16 uint32 uint64 uint8 floating integer generic issubdtype can_cast promote_types exceptions
    broadcast_shapes
""")
OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "matmul": "matmul",
}
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
SIGNS = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
