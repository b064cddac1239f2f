# Made when the model was packaged.
import fare as source
